"""sweep: what is swept over, and how values of any kind are shown. A whole sweep runs in test_pipeline.py."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, run_tool
from matplotlib import pyplot as plt

from intents.core.errors import PipelineError
from tools import sweep


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
    assert sweep.swept(override) is expected


@pytest.mark.parametrize(("value", "expected"), [(8.0, "8"), (0.25, "0.25"), ("[1, 3, 5]", "[1, 3, 5]")])
def test_values_are_shown_as_they_are_written(value: object, expected: str) -> None:
    assert sweep.shown(value) == expected


def test_layers_are_drawn_too() -> None:
    table = pd.DataFrame({"experiment": ["a", "b"], "student.half.layers": ["[1, 3, 5]", "[0, 2, 4]"], "m": [0.5, 0.6]})
    figure = sweep.picture(table, ["student.half.layers"], "m", 0.01)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["[1, 3, 5]", "[0, 2, 4]"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("kd-1", True),
        ("kd-12", True),
        ("kd-big-1", False),
        ("kd-1-more", False),
        ("my-kd-1", False),
        ("kd", False),
        (None, False),
    ],
)
def test_experiments_of_a_sweep_are_its_name_and_a_number(experiment: str | None, expected: bool) -> None:
    assert sweep.belongs(experiment, "kd") is expected


def test_a_dot_in_the_name_is_a_dot() -> None:
    assert sweep.belongs("v1.0-1", "v1.0")
    assert not sweep.belongs("v1x0-1", "v1.0")


def test_another_sweep_leaves_the_reports_of_the_first(tmp_path: Path) -> None:
    def table(name: str) -> pd.DataFrame:
        return pd.DataFrame({"experiment": [f"{name}-1", f"{name}-2"], "k": [1.0, 2.0], "m": [0.5, 0.6]})

    sweep.write(tmp_path / "kd", table("kd"), ["k"], "m", ["k=1.0,2.0"], 100)
    before = (tmp_path / "kd" / "sweep.csv").read_bytes()
    sweep.write(tmp_path / "kd-big", table("kd-big"), ["k"], "m", ["--name", "kd-big", "k=1.0,2.0", "e=[1,2]"], 100)
    assert (tmp_path / "kd" / "sweep.csv").read_bytes() == before
    assert {path.name for path in (tmp_path / "kd-big").iterdir()} == {"README.md", "sweep.csv", "sweep.png"}
    page = (tmp_path / "kd-big" / "README.md").read_text()
    assert "`python -m tools.sweep --name kd-big k=1.0,2.0 'e=[1,2]'`" in page
    assert "Highest: **kd-big-2**, 10.00 points above the lowest" in page
    assert (
        "`make keep NAME=kd-big-2` its parameters into conf/, `e=[1,2]` among them." in page
    )  # set for the sweep, and applied with the rest
    assert "standard error" not in page  # of a metric that may be anything


def test_the_page_tells_noise_from_a_difference(tmp_path: Path) -> None:
    metric = "half.validation.accuracy"
    table = pd.DataFrame({"experiment": ["kd-1", "kd-2"], "k": [1.0, 2.0], metric: [0.5, 0.6]})
    for queries, verdict in ((100, "that are not told apart"), (10, "this sweep does not tell the settings apart")):
        sweep.write(tmp_path, table, ["k"], metric, ["k=1.0,2.0"], queries)
        page = (tmp_path / "README.md").read_text()
        assert f"standard error of {100 * (0.6 * 0.4 / queries) ** 0.5:.2f} points" in page
        assert verdict in page


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


def test_a_real_queue_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What DVC prints is no promise of its: this is the pinned version's."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
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


def test_a_sweep_of_which_nothing_succeeded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep.dvc.api, "exp_show", lambda: [{"Experiment": "other-1"}])
    with pytest.raises(PipelineError, match=r"no experiment kd-1, kd-2, \.\.\. succeeded"):
        sweep.collect("kd", ["distill.alpha"], "m")


def test_what_an_earlier_sweep_of_that_name_left_behind_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"old": "Failed", "one": "Success", "two": "Success"}
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue(tasks, 1))
    monkeypatch.setattr(sweep.programs, "dvc", lambda *_: "")
    assert sweep.wait("kd", earlier={"old"}) == {"Success": 2}
    assert sweep.wait("kd", earlier={}) == {"Success": 2, "Failed": 1}


@pytest.mark.parametrize(
    ("overrides", "student"),
    [([], "half"), (["student=distilbert"], "distilbert"), (["variants.student=labels"], "labels")],
)
def test_it_sweeps_over_the_distillation_of_the_main_student(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], student: str
) -> None:
    asked = {}

    def wait(name: str, earlier: object) -> dict[str, int]:
        raise PipelineError("far enough")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "look", lambda _: sweep.Queue({}, 0))
    monkeypatch.setattr(sweep, "queue", lambda *arguments: asked.update(target=arguments[2]))
    monkeypatch.setattr(sweep, "wait", wait)
    with pytest.raises(PipelineError, match="far enough"):
        run_tool(sweep, monkeypatch, *overrides, "distill.alpha=0.1,0.5")
    assert asked == {"target": f"distill@{student}"}


def test_with_nothing_to_sweep_over_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="nothing to sweep over"):
        run_tool(sweep, monkeypatch, "distill.alpha=0.1")
