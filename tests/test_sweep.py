"""sweep: what is swept over, and how values of any kind are shown. A whole sweep runs in test_pipeline.py."""

from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from stages import sweep
from stages.library.errors import PipelineError


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("distill.alpha=0.1,0.5", True),
        ("distill.alpha=0.1", False),
        ("student.layers=[1,3,5]", False),
        ("student.layers=[1,3,5],[0,2,4]", True),
        ("prune=magnitude,movement", True),
    ],
)
def test_a_list_is_one_value(override: str, expected: bool) -> None:
    assert sweep.swept(override) is expected


@pytest.mark.parametrize(("value", "expected"), [(8.0, "8"), (0.25, "0.25"), ("[1, 3, 5]", "[1, 3, 5]")])
def test_values_are_shown_as_they_are_written(value: object, expected: str) -> None:
    assert sweep.shown(value) == expected


def test_layers_are_drawn_too() -> None:
    table = pd.DataFrame({"experiment": ["a", "b"], "student.layers": ["[1, 3, 5]", "[0, 2, 4]"], "m": [0.5, 0.6]})
    figure = sweep.picture(table, ["student.layers"], "m", 0.01)
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
    assert "`python -m stages.sweep --name kd-big k=1.0,2.0 'e=[1,2]'`" in page
    assert "Highest: **kd-big-2**, 10.00 points above the lowest" in page
    assert "into conf/, `e=[1,2]` among them." in page  # set for the sweep, and applied with the rest
    assert "standard error" not in page  # of a metric that may be anything


def test_the_page_tells_noise_from_a_difference(tmp_path: Path) -> None:
    metric = "student.validation.accuracy"
    table = pd.DataFrame({"experiment": ["kd-1", "kd-2"], "k": [1.0, 2.0], metric: [0.5, 0.6]})
    for queries, verdict in ((100, "that are not told apart"), (10, "this sweep does not tell the settings apart")):
        sweep.write(tmp_path, table, ["k"], metric, ["k=1.0,2.0"], queries)
        page = (tmp_path / "README.md").read_text()
        assert f"standard error of {100 * (0.6 * 0.4 / queries) ** 0.5:.2f} points" in page
        assert verdict in page


def test_without_a_worker_it_ends_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"POLL_S": 0, "LOOK_S": -1, "workers": lambda: False, "_dvc": lambda *_: None}.items():
        monkeypatch.setattr(sweep, name, value)
    monkeypatch.setattr(sweep, "tasks_of", lambda _: {"one": "Success", "two": "Queued"})
    with pytest.raises(
        PipelineError, match="1 experiments of the sweep are left and no worker runs; `dvc queue start`"
    ):
        sweep.wait("kd", earlier=())


def test_a_sweep_of_which_nothing_succeeded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep.dvc.api, "exp_show", lambda: [{"Experiment": "other-1"}])
    with pytest.raises(PipelineError, match=r"no experiment kd-1, kd-2, \.\.\. succeeded"):
        sweep.collect("kd", ["distill.alpha"], "m")


def test_what_an_earlier_sweep_of_that_name_left_behind_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = {"old": "Failed", "one": "Success", "two": "Success"}
    monkeypatch.setattr(sweep, "tasks_of", lambda _: tasks)
    monkeypatch.setattr(sweep, "_dvc", lambda *_: None)
    assert sweep.wait("kd", earlier={"old"}) == {"Success": 2}
    assert sweep.wait("kd", earlier={}) == {"Success": 2, "Failed": 1}
