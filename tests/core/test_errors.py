"""What a user can get wrong ends with one line that says what and what instead, and with nothing half-written.

Every mistake is made in a process of its own, as a user makes it; the packages of that process are loaded already.
"""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import contents, program
from core.mistakes import MISTAKES

from intents.core import errors

MODELS = ("teacher", "half", "half-onnx")  # those that the programs here would read or write


class Outcome(NamedTuple):
    done: subprocess.CompletedProcess[str]
    before: dict[str, str]
    after: dict[str, str]


def copy(built_once: Path, folder: Path) -> None:
    """A copy of the tiny project, of its models just some."""
    shutil.copytree(built_once, folder, ignore=shutil.ignore_patterns("models", "figures"))
    (folder / "models").mkdir()
    for name in MODELS:
        shutil.copytree(built_once / "models" / name, folder / "models" / name)
    shutil.copytree(built_once / "reports/models", folder / "reports/models")


@pytest.fixture(scope="module")
def outcomes(built_once: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    def attempt(name: str) -> Outcome:
        mistake, folder = MISTAKES[name], folders[name]
        copy(built_once, folder)
        mistake.change(folder)
        before = contents(folder)
        mirror = str(folder / "mirror")
        done = program(folder, *mistake.command, python=warm / "python", CLINC150_MIRROR=mirror, NO_PROXY="*")
        return Outcome(done, before, contents(folder))

    folders = {name: tmp_path_factory.mktemp("mistake") / "project" for name in MISTAKES}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(MISTAKES, pool.map(attempt, MISTAKES), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_says_what_is_wrong_and_what_is_allowed(outcomes: dict[str, Outcome], name: str) -> None:
    done = outcomes[name].done
    assert done.returncode == 1, done.stderr
    *log, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert len(error) <= 400
    assert len(log) == MISTAKES[name].logged, done.stderr
    assert not [line for line in log if line.startswith(("error", "Traceback"))]
    for words in MISTAKES[name].named:
        assert words in error
    assert done.stdout == ""


@pytest.mark.parametrize("name", MISTAKES)
def test_no_file_is_written_or_changed(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].before
    assert outcomes[name].after == outcomes[name].before


# The words of a command line.


def call(main: object, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `program` with a command line; 0 where it ends by itself."""
    monkeypatch.setattr(sys, "argv", ["stage", *words])
    try:
        errors.program(main, "What it does.")  # type: ignore[arg-type]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_words_of_the_command_line_are_the_parameters_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def main(model: str, method: str) -> None:
        found.append((model, method))

    assert call(main, monkeypatch, "half", "static") == 0
    assert found == [("half", "static")]


@pytest.mark.parametrize("words", [(), ("half",), ("half", "static", "more"), ("half", "static", "--he")])
def test_fewer_or_other_words_are_refused_and_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    def main(model: str, method: str) -> None:
        raise AssertionError

    assert call(main, monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_error_of_the_user_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise errors.PipelineError("`key` is 3; allowed: 1, 2")

    assert call(main, monkeypatch) == 1
    assert capsys.readouterr().err == "error: `key` is 3; allowed: 1, 2\n"


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert call(main, monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(main, monkeypatch)


# Two runs of one stage at once.


def test_of_one_stage_with_the_same_words_one_run_goes_on_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    ran = []

    def main(model: str) -> None:
        ran.append(model)
        if model == "half" and ran.count("half") == 1:
            assert call(main, monkeypatch, "narrow") == 0  # another model is another run
            assert call(main, monkeypatch, "half") == 1

    assert call(main, monkeypatch, "half") == 0
    assert ran == ["half", "narrow"]
    assert capsys.readouterr().err == (
        "error: another run of this stage goes on here and holds data/.training/stage-half.lock; wait for its end, "
        "then run it again\n"
    )
    assert set(contents(tmp_path)) == {"params.yaml"}
    assert call(main, monkeypatch, "half") == 0


def test_where_there_is_no_project_no_lock_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(lambda: None, monkeypatch) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_long_error_is_cut_in_its_middle() -> None:
    line = errors.short("what is wrong " + "x" * 100_000 + "\n allowed: a number")
    assert line.startswith("what is wrong x")
    assert line.endswith("x allowed: a number")
    assert len(f"error: {line}") <= 390


def test_a_disk_that_refuses_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise OSError(errno.EROFS, "Read-only file system", "models/half")

    assert call(main, monkeypatch) == 1
    assert capsys.readouterr().err == (
        "error: models/half cannot be read or written: Read-only file system; mend that and run the same command "
        "again\n"
    )
