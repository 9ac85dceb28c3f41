"""durations: how long stages took is kept, and tells which of those that are ready should begin first."""

import json
from pathlib import Path

import pytest

from intents.core.errors import PipelineError
from tools import durations

WHOLE = {"seconds": 100, "jobs": 2, "cores": 4}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    durations.FILE.parent.mkdir()


def test_what_was_made_now_is_replaced_and_all_else_stays() -> None:
    assert durations.load() == {"stages": {}}
    durations.save(durations.load(), {"b": 2.04, "a": 1}, WHOLE)
    assert durations.load() == {"stages": {"a": 1, "b": 2.0}, "whole": WHOLE}
    durations.save(durations.load(), {"b": 5.26}, None)
    assert durations.load() == {"stages": {"a": 1, "b": 5.3}, "whole": WHOLE}


def test_a_run_in_which_nothing_was_made_writes_nothing() -> None:
    durations.save(durations.load(), {}, None)
    assert not durations.FILE.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stages": 1}', '{"stages": {"a": "long"}}', "<<<<<<< HEAD"])
def test_a_file_of_another_form_is_one_line(content: str) -> None:
    durations.FILE.write_text(content)
    with pytest.raises(PipelineError, match=r"^reports/durations.json does not hold the seconds of stages; delete it"):
        durations.load()


@pytest.mark.parametrize(
    ("stage", "seconds", "expected"),
    [
        ("distill@half", {"distill@half": 7, "distill@slim": 1}, 7),
        ("distill@new", {"distill@half": 7, "distill@slim": 1, "evaluate": 100}, 4),
        ("deploy", {"evaluate": 2, "plot": 4}, 3),
        ("deploy", {}, 1),
    ],
)
def test_a_stage_that_was_never_made_takes_as_long_as_others_of_its_kind(
    stage: str, seconds: dict[str, float], expected: float
) -> None:
    assert durations.expected(stage, seconds) == expected


def test_the_way_to_the_end_is_the_longest_chain_of_those_that_wait() -> None:
    stages = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "alone": set()}
    seconds = {"a": 1, "b": 10, "c": 2, "d": 5, "alone": 7}
    assert durations.to_the_end(stages, seconds) == {"a": 16, "b": 15, "c": 7, "d": 5, "alone": 7}


def test_the_file_is_of_the_stages_of_the_project() -> None:
    """The committed one, where there is one."""
    path = Path(__file__).parents[2] / durations.FILE
    if not path.is_file():
        pytest.skip("no run of the whole pipeline has written it yet")
    assert {"evaluate", "benchmark", "deploy"} <= json.loads(path.read_text())["stages"].keys()
