"""start: fresh processes of the program that serves, their first answers and their memory."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from intents.core.errors import PipelineError
from intents.serving.rule import Rule
from intents.timing import start

RELEASE = ROOT / "release"


def test_a_first_answer_takes_the_time_and_the_memory_of_a_process() -> None:
    first = start.first_answer(RELEASE, "where is my card", threads=1)
    assert 20 < first.ms < 60_000
    assert 20 < first.peak_mib < 2000  # Python, NumPy and ONNX Runtime, and nothing of this process


def test_memory_is_that_of_the_process_alone() -> None:
    """A small child of a process that holds much; in getrusage(2) it would begin with its parent's peak."""
    held = bytearray(300 * 2**20)
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        peak = start.peak_mib(child.pid)
        child.communicate()
    assert 1 < peak < len(held) / 2**20 / 2


def test_where_there_is_no_peak_it_is_what_the_process_holds_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "PEAK", "Nothing:")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        try:
            assert 0 < start.peak_mib(child.pid) < 1000
        finally:
            child.kill()


def test_models_take_turns_and_are_served_with_the_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for file in ("model.onnx", "tokenizer.json"):
            (tmp_path / name / file).write_text(f"{name} {file}")
    rule = Rule(["yes", "oos"], threshold=1.5, rate=0.5)
    asked: list[str] = []

    def first_answer(folder: Path, query: str, threads: int) -> start.First:
        assert (query, threads) == ("hello", 3)
        assert (folder / "model.onnx").read_text() == f"{folder.name} model.onnx"
        assert (folder / "tokenizer.json").read_text() == f"{folder.name} tokenizer.json"
        assert Rule.load(folder, "") == rule
        asked.append(folder.name)
        return start.First(float(len(asked)), 1.0)

    monkeypatch.setattr(start, "first_answer", first_answer)
    monkeypatch.chdir(tmp_path)
    folders = {name: Path(name) for name in ("a", "b", "c")}
    found = start.interleaved(folders, rule, "hello", starts=6, threads=3, seed=0)
    rounds = [asked[at : at + 3] for at in range(0, 18, 3)]
    assert [sorted(names) for names in rounds] == [["a", "b", "c"]] * 6
    assert len({tuple(names) for names in rounds}) > 1
    for name in folders:
        assert [first.ms for first in found[name]] == [at + 1 for at, one in enumerate(asked) if one == name]
    assert not any(path.name == "classifier.json" for path in tmp_path.rglob("*"))  # the models' folders are as before


def test_a_model_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "half-onnx"
    shutil.copytree(RELEASE, folder)
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(PipelineError, match=r"half-onnx gives no first answer: error: .*is no ONNX model"):
        start.first_answer(folder, "hello", 1)
