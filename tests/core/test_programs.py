"""Every program says what it does, and refuses words that it does not know, before anything runs."""

import runpy
import sys
from pathlib import Path

import pytest
from conftest import contents
from core.programs import PROGRAMS


def call(name: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """The exit status of `python -m NAME WORDS`, in this process."""
    monkeypatch.setattr(sys, "argv", [f"{name.replace('.', '/')}.py", *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=False)
    return ended.value.code


def test_they_are_all_there() -> None:
    assert {"stages.fetch_clinc", "stages.primer", "tools.sweep", "tools.tune", "intents.serving"} <= set(PROGRAMS)
    assert len(PROGRAMS) >= 24


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_help_says_what_a_program_does_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(name, monkeypatch, "--help") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: python -m {name} [-h]")
    assert f"\n{'predict' if name == 'intents.serving' else name.split('.')[-1].replace('_', '-')}: " in shown.out
    assert shown.err == ""
    assert contents(tmp_path) == {}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")
@pytest.mark.parametrize("words", [("--no-such-option",), ("one", "two", "three", "four", "--" + "x" * 1000)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_unknown_words_are_one_line_and_run_nothing(
    name: str,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(name, monkeypatch, *words) == 2
    shown = capsys.readouterr()
    [line] = shown.err.splitlines()
    assert line.startswith("error: ")
    assert f"`python -m {name} --help` says more" in line
    assert len(line) < 400
    assert shown.out == ""
    assert contents(tmp_path) == {}
