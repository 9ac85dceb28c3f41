"""readme: the results in README.md are those of the reports, and all else in it stays."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, run_tool

from intents.core import paths
from intents.core.errors import PipelineError
from tools import durations, readme

START, END = readme.markers("results")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme, "BLOCKS", {"results": lambda benchmark: f"best: {benchmark['best']}\n"})
    monkeypatch.setattr(readme.reading, "benchmark", readme.reading.load)  # no rows are needed here
    paths.BENCHMARK.parent.mkdir()
    paths.BENCHMARK.write_text(json.dumps({"best": "half"}))
    readme.README.write_text(f"before\n{START}{END}\nafter\n")


def test_what_stands_between_the_markers_is_replaced_and_then_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    run_tool(readme, monkeypatch)
    assert readme.README.read_text() == f"before\n{START}best: half\n{END}\nafter\n"
    run_tool(readme, monkeypatch, "--check")
    paths.BENCHMARK.write_text(json.dumps({"best": "teacher"}))
    run_tool(readme, monkeypatch)
    assert readme.README.read_text() == f"before\n{START}best: teacher\n{END}\nafter\n"


def test_check_fails_on_other_results_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = readme.README.read_text()
    with pytest.raises(PipelineError, match=r"README.md's results are not those of reports/benchmark.json"):
        run_tool(readme, monkeypatch, "--check")
    assert readme.README.read_text() == before


def test_the_duration_is_that_of_the_last_whole_run_and_stays_where_there_was_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, end = readme.markers("duration")
    text = f"before\n{START}best: half\n{END}\n{start}It took an hour.\n{end}\nafter\n"
    readme.README.write_text(text)
    run_tool(readme, monkeypatch, "--check")
    durations.save({"stages": {}}, {"evaluate": 3}, {"seconds": 2771, "jobs": 2, "cores": 4})
    with pytest.raises(PipelineError, match=r"or reports/durations.json; `make repro` writes them"):
        run_tool(readme, monkeypatch, "--check")
    run_tool(readme, monkeypatch)
    took = "`make repro` took 46 minutes the first time, with 2 stages at once on 4 cores."
    assert took in readme.README.read_text()
    assert "an hour" not in readme.README.read_text()


@pytest.mark.parametrize("text", ["no markers", f"{START}", f"{START}{END}" * 2])
def test_each_marker_must_be_there_once(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    readme.README.write_text(text)
    with pytest.raises(PipelineError, match="must hold each of the markers"):
        run_tool(readme, monkeypatch)
    assert readme.README.read_text() == text


def test_the_projects_readme_has_the_markers() -> None:
    text = (ROOT / readme.README).read_text()
    found = [
        (block, *map(text.count, readme.markers(block))) for block in ("headline", "results", "findings", "duration")
    ]
    assert found == [("headline", 1, 1), ("results", 1, 1), ("findings", 1, 1), ("duration", 1, 1)]
