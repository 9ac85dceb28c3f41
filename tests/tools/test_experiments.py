"""experiments: which belong to a sweep, and what their students answered."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from dvc.exceptions import FileMissingError
from safetensors.numpy import save

from intents.core.errors import PipelineError
from tools import experiments


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("kd-1", True),
        ("kd-12", True),
        ("kd-big-1", False),
        ("kd-1-more", False),
        ("my-kd-1", False),
        ("kd", False),
        (None, False),
    ],
)
def test_experiments_of_a_sweep_are_its_name_and_a_number(experiment: str | None, expected: bool) -> None:
    assert experiments.belongs(experiment, "kd") is expected


def test_a_dot_in_the_name_is_a_dot() -> None:
    assert experiments.belongs("v1.0-1", "v1.0")
    assert not experiments.belongs("v1x0-1", "v1.0")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The validation logits of experiments, as DVC would give them; two queries of each of two labels."""
    found: dict[str, np.ndarray] = {}

    def read(path: str, rev: str, mode: str) -> bytes:
        assert (path, mode) == ("data/logits/half.safetensors", "rb")
        if rev not in found:
            raise FileMissingError(path)
        return save({"validation": found[rev].astype(np.float32)})

    monkeypatch.setattr(experiments.dvc.api, "read", read)
    monkeypatch.setattr(experiments, "Corpus", lambda: SimpleNamespace(labels=lambda _: np.array([0, 0, 1, 1])))
    return found


def test_outcomes_are_those_of_the_experiments_logits(cached: dict[str, np.ndarray]) -> None:
    cached |= {"kd-1": np.eye(2)[[0, 1, 1, 1]], "kd-2": np.eye(2)[[0, 0, 1, 1]]}
    metric = "half.validation.accuracy"
    table = pd.DataFrame({"experiment": ["kd-1", "kd-2"], metric: [0.75, 1.0]})
    assert {name: right.tolist() for name, right in experiments.outcomes(table, metric).items()} == {
        "kd-1": [True, False, True, True],
        "kd-2": [True, True, True, True],
    }


@pytest.mark.parametrize(
    ("metric", "values", "names"),
    [
        ("half.size_mb", [0.75, 1.0], ["kd-1", "kd-2"]),  # no share of right answers
        ("half.validation.accuracy", [0.75, 0.9], ["kd-1", "kd-2"]),  # of other queries than those here
        ("half.validation.accuracy", [0.75, 1.0], ["kd-1", "kd-3"]),  # not in the cache here
    ],
)
def test_where_the_outcomes_are_not_known_nothing_is_told_apart(
    cached: dict[str, np.ndarray], metric: str, values: list[float], names: list[str]
) -> None:
    cached |= {"kd-1": np.eye(2)[[0, 1, 1, 1]], "kd-2": np.eye(2)[[0, 0, 1, 1]]}
    assert experiments.outcomes(pd.DataFrame({"experiment": names, metric: values}), metric) == {}


def test_a_sweep_of_which_nothing_succeeded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments.dvc.api, "exp_show", lambda: [{"Experiment": "other-1"}])
    with pytest.raises(PipelineError, match=r"no experiment kd-1, kd-2, \.\.\. succeeded"):
        experiments.collect("kd", ["distill.alpha"], "m")


def test_answers_that_are_not_in_the_cache_are_an_error(cached: dict[str, np.ndarray]) -> None:
    cached |= {"kd-1": np.eye(2)}
    np.testing.assert_array_equal(experiments.answered("half", "kd-1"), np.eye(2))
    with pytest.raises(PipelineError, match="the logits of kd-2 cannot be read"):
        experiments.answered("half", "kd-2")
