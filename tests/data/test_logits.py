"""logits: a file per variant, as float32, and who makes it where it is missing."""

from pathlib import Path

import numpy as np
import pytest

from intents.core.errors import PipelineError
from intents.data import logits


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_was_saved_comes_back_as_float32(here: Path) -> None:
    given = {"validation": np.arange(12.0).reshape(3, 4), "test": np.float32(np.arange(8).reshape(2, 4)).T}
    logits.save("half-ort-static", given)
    assert (here / "data/logits/half-ort-static.safetensors").is_file()
    found = logits.load("half-ort-static")
    assert set(found) == set(given)
    for split, array in given.items():
        assert found[split].dtype == np.float32
        np.testing.assert_array_equal(found[split], array)


@pytest.mark.parametrize(
    ("variant", "stage"),
    [
        ("teacher", "finetune-teacher@teacher"),
        ("teacher-mpnet", "finetune-teacher@teacher-mpnet"),
        ("labels", "distill@labels"),
        ("half-movement", "prune@movement"),
        ("half-qat", "qat@half"),
        ("half-qat-torch-static", "quantize@half-qat-static"),
        ("half-onnx", "onnx-export@half"),
        ("half-movement-ort-dynamic", "ort-quantize@half-movement-dynamic"),
    ],
)
@pytest.mark.usefixtures("here")
def test_missing_logits_name_the_stage_that_makes_them(variant: str, stage: str) -> None:
    with pytest.raises(PipelineError, match=rf"data/logits/{variant}.safetensors not found; run `dvc repro {stage}`"):
        logits.load(variant)


def test_a_save_that_fails_leaves_the_old_logits(here: Path) -> None:
    logits.save("half", {"test": np.ones((1, 2))})
    with pytest.raises(ValueError, match="could not convert"):
        logits.save("half", {"test": np.array([["no number"]])})
    np.testing.assert_array_equal(logits.load("half")["test"], np.ones((1, 2)))
    assert [path.name for path in (here / "data/logits").iterdir()] == ["half.safetensors"]


def test_one_by_one_asks_each_query_in_turn() -> None:
    asked = []

    def answer(text: str) -> np.ndarray:
        asked.append(text)
        return np.full(3, len(text))

    found = logits.one_by_one(answer, iter(["a", "bbb", "cc"]))
    assert asked == ["a", "bbb", "cc"]
    np.testing.assert_array_equal(found, [[1] * 3, [3] * 3, [2] * 3])
