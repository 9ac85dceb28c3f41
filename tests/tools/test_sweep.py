"""sweep: what is swept over, and how values of any kind are shown. A whole sweep runs in test_pipeline.py."""

import os
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run_tool

from intents.core.errors import PipelineError, run_program
from tools import sweep
from tools.search import sweeps


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("distill.alpha=0.1,0.5", True),
        ("distill.alpha=0.1", False),
        ("student.half.layers=[1,3,5]", False),
        ("student.half.layers=[1,3,5],[0,2,4]", True),
        ("prune=magnitude,movement", True),
    ],
)
def test_a_list_is_one_value(override: str, expected: bool) -> None:
    assert sweeps.swept(override) is expected


@pytest.mark.parametrize(("value", "expected"), [(8.0, "8"), (0.25, "0.25"), ("[1, 3, 5]", "[1, 3, 5]")])
def test_values_are_shown_as_they_are_written(value: object, expected: str) -> None:
    assert sweeps.shown(value) == expected


def test_layers_are_drawn_too() -> None:
    table = pd.DataFrame({"experiment": ["a", "b"], "student.half.layers": ["[1, 3, 5]", "[0, 2, 4]"], "m": [0.5, 0.6]})
    figure = sweeps.picture(table, ["student.half.layers"], "m", ["a"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["[1, 3, 5]", "[0, 2, 4]"]


def test_another_sweep_leaves_the_reports_of_the_first(tmp_path: Path) -> None:
    def table(name: str) -> pd.DataFrame:
        return pd.DataFrame({"experiment": [f"{name}-1", f"{name}-2"], "k": [1.0, 2.0], "m": [0.5, 0.6]})

    sweeps.write(tmp_path / "kd", table("kd"), ["k"], "m", ["k=1.0,2.0"], {})
    before = (tmp_path / "kd" / "sweep.csv").read_bytes()
    sweeps.write(tmp_path / "kd-big", table("kd-big"), ["k"], "m", ["--name", "kd-big", "k=1.0,2.0", "e=[1,2]"], {})
    assert (tmp_path / "kd" / "sweep.csv").read_bytes() == before
    assert {path.name for path in (tmp_path / "kd-big").iterdir()} == {"README.md", "sweep.csv", "sweep.png"}
    page = (tmp_path / "kd-big" / "README.md").read_text()
    assert "`python -m tools.sweep --name kd-big k=1.0,2.0 'e=[1,2]'`" in page
    assert "Highest: **kd-big-2**, 10.00 points above the lowest" in page
    assert (
        "`make keep NAME=kd-big-2` its parameters into conf/, `e=[1,2]` among them." in page
    )  # set for the sweep, and applied with the rest
    assert "interval" not in page  # of a metric that may be anything


def answered(name: str, wrong: list[int]) -> np.ndarray:
    """The outcomes of 400 queries, all right but these."""
    right = np.ones(400, dtype=bool)
    right[wrong] = False
    return right


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        # Twice 20 and 30 wrong answers: only whether they are the same queries tells noise from a difference.
        (list(range(30)), "No interval contains zero: the highest is told apart from every other."),
        (list(range(100, 130)), "All intervals contain zero: this sweep does not tell the settings apart."),
    ],
)
def test_settings_are_compared_over_the_same_queries(tmp_path: Path, wrong: list[int], verdict: str) -> None:
    metric = "half.validation.accuracy"
    right = {"kd-1": answered("kd-1", wrong), "kd-2": answered("kd-2", list(range(20)))}
    table = pd.DataFrame(
        {"experiment": list(right), "k": [1.0, 2.0], metric: [outcome.mean() for outcome in right.values()]}
    )
    sweeps.write(tmp_path, table, ["k"], metric, ["k=1.0,2.0"], right)
    page = (tmp_path / "README.md").read_text()
    assert verdict in page
    assert "| kd-1 | 1 | 92.50 % | -2.50 [" in page
    assert "| kd-2 | 2 | 95.00 % |  |" in page


def test_of_three_it_says_how_many_are_not_told_apart(tmp_path: Path) -> None:
    metric = "half.validation.accuracy"
    right = {"a": answered("a", []), "b": answered("b", [1]), "c": answered("c", list(range(50)))}
    table = pd.DataFrame({"experiment": list(right), "k": [1.0, 2.0, 3.0], metric: [o.mean() for o in right.values()]})
    sweeps.write(tmp_path, table, ["k"], metric, ["k=1.0,2.0,3.0"], right)
    assert "1 of the 2 others have an interval that contains zero" in (tmp_path / "README.md").read_text()


STATUS = """Task     Name      Created       Status
9838bd5  kd-1      07:15 AM      Queued
729115a  kd-2      07:15 AM      Running
049537e  kd-3      Nov 25, 2026  Success
377633b  kd-big-1  07:15 AM      Success
b3c1f0a            07:15 AM      Failed

Worker status: {active} active, {idle} idle
"""


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """DVC's queue as above, worked on; what else DVC is told."""
    called: list[tuple[str, ...]] = []

    def dvc(*arguments: str, capture: bool = False) -> str:
        called.append(arguments)
        return STATUS.format(active=1, idle=2) if capture else ""

    monkeypatch.setattr(sweep.programs, "dvc", dvc)
    monkeypatch.setattr(sweep, "POLL_S", 0)
    return called


def test_the_queue_is_read_as_dvc_shows_it(queue: list[tuple[str, ...]]) -> None:
    assert sweep.look("kd") == ({"9838bd5": "Queued", "729115a": "Running", "049537e": "Success"}, 3)
    assert sweep.look("kd-big") == ({"377633b": "Success"}, 3)
    assert sweep.look("other").tasks == {}
    assert set(queue) == {("queue", "status")}


def test_a_real_queue_is_read(tmp_path: Path, warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DVC prints is no promise of its: this is the pinned version's."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(warm), prepend=os.pathsep)
    Path("dvc.yaml").write_text("stages: {other: {cmd: 'true', params: [a]}}\n")
    Path("params.yaml").write_text("a: 1\n")
    author = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["git", "add", "-A"],
        [*author, "commit", "-qm", "m"],
    ):
        subprocess.run(command, check=True)
    assert sweep.look("kd") == ({}, 0)
    sweep.queue("kd", ["a=1,2"], "other")
    seen = sweep.look("kd")
    assert list(seen.tasks.values()) == ["Queued", "Queued"]
    assert seen.workers == 0


def test_it_waits_until_all_have_ended(queue: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [{"a": "Queued", "b": "Queued"}, {"a": "Running", "b": "Queued"}, {"a": "Failed", "b": "Success"}]
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue(looks.pop(0), 1))
    assert sweep.wait("kd", earlier=()) == {"Failed": 1, "Success": 1}
    assert looks == []
    assert queue == [("queue", "start", "--jobs", "1")]


def test_without_a_worker_it_ends_and_says_what_to_do(
    queue: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue({"one": "Success", "two": "Queued"}, 0))
    with pytest.raises(
        PipelineError, match="1 experiments of the sweep are left and no worker runs; `dvc queue start`"
    ):
        sweep.wait("kd", earlier=())


def test_a_worker_that_does_not_always_answer_is_waited_for(
    queue: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [
        *[sweep.Queue({"a": "Running"}, answers) for answers in (*[0] * 9, 1, *[0] * 9)],
        sweep.Queue({"a": "Success"}, 0),
    ]
    monkeypatch.setattr(sweep, "look", lambda _: looks.pop(0))
    assert sweep.wait("kd", earlier=()) == {"Success": 1}


def test_a_queue_that_lists_nothing_is_an_error(queue: list[tuple[str, ...]]) -> None:
    with pytest.raises(PipelineError, match=r"lists no experiment other-1, other-2, \.\.\. that was just queued"):
        sweep.wait("other", earlier=())


def test_what_an_earlier_sweep_of_that_name_left_behind_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"old": "Failed", "one": "Success", "two": "Success"}
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue(tasks, 1))
    monkeypatch.setattr(sweep.programs, "dvc", lambda *_: "")
    assert sweep.wait("kd", earlier={"old"}) == {"Success": 2}
    assert sweep.wait("kd", earlier={}) == {"Success": 2, "Failed": 1}


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A queue to which a sweep adds two tasks, beside one of an earlier sweep; what was queued, waited for, removed."""
    seen = SimpleNamespace(tasks={"old": "Failed"}, queued=0, waited=[], removed=[], there=True)
    seen.queueing = seen.waiting = None

    def queue(*_: object) -> None:
        seen.queued += 1
        seen.tasks |= {"one": "Queued", "two": "Queued"}
        if seen.queueing:
            raise seen.queueing

    def wait(name: str, earlier: list[str]) -> Counter[str]:
        seen.waited.append(earlier)
        if seen.waiting:
            raise seen.waiting
        return Counter(Success=2)

    monkeypatch.setattr(sweep, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(sweep, "state", lambda: "as it is")
    monkeypatch.setattr(sweep.experiments, "there", lambda _: seen.there)
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue(dict(seen.tasks), 1))
    monkeypatch.setattr(sweep, "queue", queue)
    monkeypatch.setattr(sweep, "wait", wait)
    monkeypatch.setattr(sweep.programs, "dvc", lambda *words: seen.removed.append(words))
    return seen


def test_after_ctrl_c_the_same_command_waits_and_collects(interrupted: SimpleNamespace) -> None:
    interrupted.waiting = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt, match="the queue's worker goes on with the sweep: the same command waits"):
        sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half")
    interrupted.waiting = None
    interrupted.tasks |= {"one": "Success"}
    assert sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half") == {"Success": 2}
    assert interrupted.queued == 1
    assert interrupted.waited == [["old"], ["old"]]
    assert interrupted.removed == []


def test_what_it_says_is_what_the_program_ends_with(
    interrupted: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted.waiting = KeyboardInterrupt()
    with pytest.raises(SystemExit) as ended:
        run_program(lambda: sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half") and None)
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted; the queue's worker goes on")


def test_ctrl_c_while_it_queues_leaves_nothing_queued(interrupted: SimpleNamespace) -> None:
    interrupted.queueing = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt, match="nothing of this sweep is queued"):
        sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half")
    assert interrupted.removed == [("queue", "remove", "one", "two")]
    interrupted.queueing, interrupted.tasks = None, {"old": "Failed"}
    assert sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half") == {"Success": 2}
    assert interrupted.queued == 2


def test_what_dvc_refuses_leaves_nothing_queued_either(interrupted: SimpleNamespace) -> None:
    interrupted.queueing = PipelineError("`dvc exp run` ended with status 255")
    with pytest.raises(PipelineError, match="ended with status 255"):
        sweep.run("kd", {"kd-1": ["a=1"], "kd-2": ["a=2"]}, "distill@half")
    assert interrupted.removed == [("queue", "remove", "one", "two")]
    assert not list(sweep.RECORDS.glob("*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prune=magnitude,movement"], "`prune` is not one setting; allowed: a key of params.yaml"),
        (["prune.movement.sparsity=0.8,0.9", "--target", "prune@movement"], "--target is given without --metric"),
    ],
)
def test_what_could_not_be_compared_is_told_before_anything_is_queued(
    monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "run", lambda *_: pytest.fail("it was queued"))
    with pytest.raises(PipelineError, match=message):
        run_tool(sweep, monkeypatch, *words)


def test_a_name_is_free_again_once_its_experiments_are_removed(interrupted: SimpleNamespace) -> None:
    sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half")
    interrupted.there, interrupted.tasks = False, {"one": "Success", "two": "Success"}
    assert sweep.run("kd", {"kd": ["a=1,3"]}, "distill@half") == {"Success": 2}
    assert interrupted.queued == 2


@pytest.mark.parametrize("change", ["values", "target", "code"])
def test_another_sweep_of_that_name_is_refused_before_anything_is_queued(
    interrupted: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    sweep.run("kd", {"kd": ["a=1,2"]}, "distill@half")
    if change == "code":
        monkeypatch.setattr(sweep, "state", lambda: "edited")
    values = ["a=1,3"] if change == "values" else ["a=1,2"]
    with pytest.raises(PipelineError, match="the sweep kd was queued by another call, or from other code"):
        sweep.run("kd", {"kd": values}, "distill@labels" if change == "target" else "distill@half")
    assert interrupted.queued == 1


@pytest.mark.parametrize(
    ("overrides", "student"),
    [([], "half"), (["student=distilbert"], "distilbert"), (["variants.student=labels"], "labels")],
)
def test_it_sweeps_over_the_distillation_of_the_main_student(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, overrides: list[str], student: str
) -> None:
    asked = {}

    def wait(name: str, earlier: object) -> dict[str, int]:
        raise PipelineError("far enough")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "RECORDS", tmp_path)
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue({}, 0))
    monkeypatch.setattr(sweep, "queue", lambda *arguments: asked.update(target=arguments[2]))
    monkeypatch.setattr(sweep, "wait", wait)
    with pytest.raises(PipelineError, match="far enough"):
        run_tool(sweep, monkeypatch, *overrides, "distill.alpha=0.1,0.5")
    assert asked == {"target": f"distill@{student}"}


def test_with_nothing_to_sweep_over_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="nothing to sweep over"):
        run_tool(sweep, monkeypatch, "distill.alpha=0.1")


@pytest.mark.parametrize("name", ["é", "模", "a#b", "a?b", "a%20b"])
def test_a_clone_where_dvc_cannot_queue_is_refused_before_anything_is_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.setattr(sweep, "queue", lambda *_: pytest.fail("queued"))
    with pytest.raises(PipelineError, match=r"the path .* has '.', .* allowed: ASCII without # \? %"):
        run_tool(sweep, monkeypatch, "distill.alpha=0.1,0.5")


def test_a_usual_path_is_not_refused(tmp_path: Path) -> None:
    sweep.programs.check_path(tmp_path / "A folder/it's_1-2.3+4,5=6@7~(8)[9]&")
