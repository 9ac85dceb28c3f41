"""tools.repro: several stages at once, in an order that DVC would allow, with what DVC would write."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from dvc.repo import Repo

from intents.core.errors import PipelineError
from tools import durations, programs, repro, safe_dvc

DIAMOND = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}


class Made:
    """Stages that take a moment; it writes down when each began and ended."""

    def __init__(self, failing: str | None = None) -> None:
        self.events: list[str] = []
        self.most = 0
        self.failing = failing
        self._now: set[str] = set()
        self._guard = threading.Lock()

    def __call__(self, name: str) -> bool:
        with self._guard:
            self.events.append(f"+{name}")
            self._now.add(name)
            self.most = max(self.most, len(self._now))
            if set(repro.ALONE) & self._now:
                assert len(self._now) == 1, self._now
        time.sleep(0.05)
        with self._guard:
            self._now.remove(name)
            self.events.append(f"-{name}")
        return name != self.failing


def test_a_stage_begins_when_those_that_it_reads_have_ended_and_two_run_at_once() -> None:
    made = Made()
    assert repro.run(DIAMOND, 2, made) is None
    assert made.most == 2
    for name, reads in DIAMOND.items():
        assert all(made.events.index(f"-{other}") < made.events.index(f"+{name}") for other in reads)


def test_no_more_run_at_once_than_asked() -> None:
    made = Made()
    assert repro.run({name: set() for name in "abcdef"}, 3, made) is None
    assert made.most == 3


def test_the_stage_that_most_others_wait_for_comes_first() -> None:
    made = Made()
    repro.run({"alone": set(), "first": set(), "next": {"first"}, "last": {"next"}}, 1, made)
    assert made.events[0] == "+first"


def test_a_long_stage_that_nothing_waits_for_is_not_left_for_last() -> None:
    """With one at once only the order shows: by the number of those that wait, `control` would come last."""
    stages = {"control": set(), "first": set(), "next": {"first"}, "last": {"next"}}
    seconds = {"control": 300, "first": 60, "next": 20, "last": 20}
    made = Made()
    repro.run(stages, 1, made, seconds=seconds)
    assert [event for event in made.events if event[0] == "+"] == ["+control", "+first", "+next", "+last"]


def test_a_stage_that_reads_the_clock_runs_alone() -> None:
    made = Made()  # it asserts so
    stages = {name: set() for name in ("a", "b", "benchmark", "c", "d")}
    assert repro.run(stages, 3, made) is None
    assert {f"-{name}" for name in stages} < set(made.events)


def test_after_a_failure_what_runs_ends_and_nothing_begins() -> None:
    made = Made(failing="b")
    assert repro.run(DIAMOND | {"e": {"c"}, "f": {"e"}}, 2, made) == "b"
    assert "-c" in made.events
    assert "+d" not in made.events
    assert "+f" not in made.events


@pytest.fixture
def project(tmp_path: Path, warm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of two stages that a third joins; one of the two is up to date."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(warm), prepend=os.pathsep)
    write = "  {0}:\n    cmd: cat {1} > {0}.txt\n    deps: [{2}]\n    outs: [{0}.txt]\n"
    stages = [write.format("left", "in", "in"), write.format("right", "other", "other")]
    stages.append(write.format("both", "left.txt right.txt", "left.txt, right.txt"))
    Path("dvc.yaml").write_text("stages:\n" + "".join(stages))
    Path("in").write_text("l")
    Path("other").write_text("r")
    Repo.init(no_scm=True).close()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    subprocess.run(["dvc", "repro", "-q", "left"], check=True)
    return tmp_path


def test_what_changed_and_what_follows_it_is_made_and_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["repro", "--jobs", "2"])
    with Repo() as repo:
        assert repro.plan(repo) == {"right": set(), "both": {"right"}}
    repro.main()
    assert (project / "both.txt").read_text() == "lr"
    with Repo() as repo:
        assert repo.status() == {}
    assert "2 stages" in capsys.readouterr().out
    kept = durations.load()
    assert kept["stages"].keys() == {"right", "both"}
    assert all(seconds > 0 for seconds in kept["stages"].values())
    assert "whole" not in kept  # `left` was up to date

    for name in ("in", "other"):
        Path(name).write_text("new")
    repro.main()
    kept = durations.load()
    assert kept["stages"].keys() == {"left", "right", "both"}
    assert (kept["whole"]["jobs"], kept["whole"]["cores"]) == (2, os.cpu_count())
    capsys.readouterr()

    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text().replace("cat other", "cat missing"))
    with pytest.raises(PipelineError, match=r"^stage right failed; .*right\.log$"):
        repro.main()
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_dvc_is_run_so_that_it_leaves_no_torn_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], jobs: str
) -> None:
    assert Path(programs.SAFE_DVC[-1]) == Path(safe_dvc.__file__)
    monkeypatch.setattr(programs, "SAFE_DVC", (sys.executable, "-c", "import sys; sys.exit(f'with {sys.argv[1:]}')"))
    with pytest.raises(PipelineError):
        repro.everything(int(jobs))
    assert "'repro'" in capfd.readouterr().err


def test_a_torn_list_of_what_dvc_is_reading_is_forgotten(project: Path) -> None:
    listed = project / ".dvc/tmp/rwlock"
    listed.write_text('{"write": {"da')
    repro.everything(2)  # DVC refuses such a list
    assert (project / "both.txt").read_text() == "lr"


def test_a_full_disk_under_the_database_of_dvc_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(_: Repo) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(repro, "plan", plan)
    with pytest.raises(PipelineError, match=r"^DVC cannot write its database: disk I/O error; often: No space left"):
        repro.everything(2)


ENTRY = '{{"pid": {}, "cmd": "dvc repro"}}'


@pytest.mark.parametrize(
    ("text", "written", "stays"),
    [
        ("", None, False),
        ('{"write": {"da', None, False),
        ("[]", None, False),
        ('{"read": {}, "write": {}}', None, False),
        (f'{{"read": {{}}, "write": {{"a": {ENTRY.format(os.getpid())}}}}}', None, True),
        (f'{{"read": {{"a": [{ENTRY.format(os.getpid())}]}}, "write": {{}}}}', None, True),
        (f'{{"read": {{"a": [{ENTRY.format(os.getpid())}]}}, "write": {{}}}}', 0, False),  # it is another's number now
        (f'{{"read": {{"a": [{ENTRY.format(2**22 + 1)}]}}, "write": {{}}}}', None, False),  # no process has that number
    ],
    ids=["empty", "cut off", "no mapping", "nothing listed", "written", "read", "another's", "no process"],
)
def test_a_list_of_what_living_processes_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, written: int | None, stays: bool
) -> None:
    monkeypatch.setattr(repro, "LISTED", tmp_path / "rwlock")
    repro.forget_the_dead()
    repro.LISTED.write_text(text)
    if written is not None:
        os.utime(repro.LISTED, (written, written))
    repro.forget_the_dead()
    assert repro.LISTED.exists() == stays


@pytest.mark.parametrize(
    ("failed", "told"), [("one", r"^stage one failed"), (None, r"^reports/durations\.json cannot be written$")]
)
def test_where_no_durations_can_be_written_the_stage_that_failed_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: str | None, told: str
) -> None:
    def save(*_: object) -> None:
        raise PipelineError("reports/durations.json cannot be written")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repro, "Repo", lambda: nullcontext(SimpleNamespace(index=SimpleNamespace(stages=[]))))
    monkeypatch.setattr(repro, "plan", lambda _: {})
    monkeypatch.setattr(repro, "log_of", lambda _: tmp_path / "log")
    monkeypatch.setattr(repro, "run_in_sight", lambda *_: failed)
    monkeypatch.setattr(repro.durations, "save", save)
    (tmp_path / "log").touch()
    with pytest.raises(PipelineError, match=told):
        repro.everything(2)


def test_a_stage_that_failed_on_a_full_disk_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro, "LOGS", tmp_path)
    monkeypatch.setattr(repro, "LITTLE", 0)
    assert "stands above and in" in repro.why("one")
    monkeypatch.setattr(repro, "LITTLE", 2**80)
    assert "stage one failed: No space left on device (" in repro.why("one")


@pytest.mark.parametrize(
    ("printed", "shown"), [("a\nb\n", "b"), (" 1 of 2\r 2 of 2", "2 of 2"), ("b\n\n \r", "b"), ("", "")]
)
def test_a_running_stage_shows_what_it_printed_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, shown: str
) -> None:
    monkeypatch.setattr(repro, "LOGS", tmp_path)
    assert repro.last_line("stage") == ""
    repro.log_of("stage").write_bytes(printed.encode())
    assert repro.last_line("stage") == shown


def test_a_number_of_jobs_below_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["repro", "--jobs", "0"])
    with pytest.raises(SystemExit):
        repro.main()
    assert "argument --jobs: '0'; allowed: a whole number from 1 to 1024" in capsys.readouterr().err
