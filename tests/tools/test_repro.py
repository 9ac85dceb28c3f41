"""tools.repro: several stages at once, in an order that DVC would allow, with what DVC would write."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from intents.core.errors import PipelineError
from tools import repro

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

    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text().replace("cat other", "cat missing"))
    with pytest.raises(PipelineError, match=r"^stage right failed; .*right\.log$"):
        repro.main()
    assert "missing" in capsys.readouterr().err


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
    assert "--jobs is 0; allowed: 1 or more" in capsys.readouterr().err
