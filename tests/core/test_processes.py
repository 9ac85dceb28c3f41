"""processes: what a process knows of those that train with it, and who speaks, writes and holds the lock."""

import sys
from pathlib import Path

import pytest
from conftest import program

from intents.core import errors, processes


def of_two(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make this one of two processes, as a launcher would say it."""
    for name, value in {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))


def call(main: object, monkeypatch: pytest.MonkeyPatch, *, trains: bool = True) -> int:
    """The exit status of a stage's program; 0 where it ends by itself."""
    monkeypatch.setattr(sys, "argv", ["stage"])
    try:
        errors.program(main, "What it does.", trains=trains)  # type: ignore[arg-type]
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(autouse=True)
def waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A project as the current folder, and the seconds that a process would have waited."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").touch()
    found: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", found.append)
    return found


def test_a_program_that_nobody_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.count(), processes.number(), processes.is_main()) == (1, 0, True)
    monkeypatch.setenv("WORLD_SIZE", "4")  # a cluster may say how many machines a job has
    assert processes.count() == 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_launched_process_knows_its_number(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    of_two(monkeypatch, number)
    assert (processes.count(), processes.number(), processes.is_main()) == (2, number, number == 0)


@pytest.mark.parametrize("number", [0, 1])
def test_the_main_process_alone_holds_the_lock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    of_two(monkeypatch, number)
    held = []
    assert call(lambda: held.extend(Path("data/.training").glob("*.lock")), monkeypatch) == 0
    assert len(held) == (1 if number == 0 else 0)


@pytest.mark.parametrize("number", [0, 1])
def test_a_stage_that_trains_nothing_is_refused_by_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    of_two(monkeypatch, number)
    ran: list[int] = []
    assert call(lambda: ran.append(1), monkeypatch, trains=False) == 1
    assert "stages.stage trains nothing, and was started in 2 processes; allowed: one" in capsys.readouterr().err
    assert ran == []
    assert not Path("data").exists()


def test_a_process_that_is_done_ends_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waited: list[float]
) -> None:
    def main() -> None:
        raise processes.Done

    of_two(monkeypatch, 1)
    assert call(main, monkeypatch) == 0
    assert capsys.readouterr().err == ""
    assert waited == []


@pytest.mark.parametrize(("number", "seconds"), [(0, []), (1, [processes.GRACE])])
def test_an_error_of_another_process_is_told_if_the_main_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    waited: list[float],
    number: int,
    seconds: list[float],
) -> None:
    def main() -> None:
        raise errors.PipelineError("`key` is 3; allowed: 1, 2")

    of_two(monkeypatch, number)
    assert call(main, monkeypatch) == 1
    assert waited == seconds  # in which the launcher ends it, if the main process failed too
    assert capsys.readouterr().err == "error: `key` is 3; allowed: 1, 2\n"


@pytest.mark.parametrize(("number", "lines"), [(0, 1), (1, 0)])
def test_ctrl_c_is_told_by_the_main_process_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, lines: int
) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    of_two(monkeypatch, number)
    assert call(main, monkeypatch) == 130
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_under_a_launcher_an_error_that_all_meet_is_told_once_and_ends_it(tmp_path: Path) -> None:
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
    done = program(tmp_path, *launcher, "-m", "stages.fetch_clinc")
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told == ["error: python -m stages.fetch_clinc trains nothing, and was started in 2 processes; allowed: one"]
