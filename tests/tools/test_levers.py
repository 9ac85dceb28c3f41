"""levers: one experiment for each thing left out, and its differences, query by query."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run_tool

from intents.core.errors import PipelineError
from intents.evaluation.threshold import OutOfScope
from tools import levers, sweep
from tools.levers import Levers

SMALL = Levers(
    name="kd",
    model="slim",
    everywhere=["augment.number=5"],
    without={"emphasis": ["student.slim.emphasis=0.0"], "common words": ["student.slim.vocabulary.common=0"]},
    seeds=[1, 2],
)
RULE = OutOfScope(rate=0.2, quantile=0.05)


def answers(labels: np.ndarray, wrong: list[int], margin: float = 8.0) -> np.ndarray:
    """Logits (queries, 4) that are right for all queries but these."""
    given = labels.copy()
    given[wrong] = (given[wrong] + 1) % 3
    return (margin * np.eye(4)[given]).astype(np.float32)


@pytest.fixture
def labels() -> np.ndarray:
    return np.repeat([0, 1, 2, 3], [30, 30, 30, 10])


def judged(labels: np.ndarray, wrong: list[list[int]]) -> dict[str, levers.Judged]:
    teacher = answers(labels, [])
    return {
        f"kd-{place}": levers.judge(answers(labels, which), teacher, labels, RULE)
        for place, which in enumerate(wrong, 1)
    }


def test_each_experiment_leaves_out_one_thing_and_the_others_repeat_the_training() -> None:
    assert SMALL.experiments == {
        "kd-1": ["augment.number=5"],
        "kd-2": ["augment.number=5", "student.slim.emphasis=0.0"],
        "kd-3": ["augment.number=5", "student.slim.vocabulary.common=0"],
        "kd-4": ["augment.number=5", "student.slim.seed=1"],
        "kd-5": ["augment.number=5", "student.slim.seed=2"],
    }
    assert len(SMALL.labels) == 5


@pytest.mark.parametrize("name", ["levers", "teacher_levers"])
def test_the_projects_own_files_compose_and_name_no_lever_twice(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(ROOT)
    found = levers.read(levers.CONFIGS / f"{name}.yaml")
    assert found.name == name  # what its page, reports/NAME/, is called
    changed = list(found.experiments.values())
    assert len({tuple(overrides) for overrides in changed}) == len(changed) == len(found.labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "nobody"}, "`model` in .*/levers.yaml is 'nobody'; allowed: teacher, half"),
        ({"name": "a/b"}, "`name` in .*/levers.yaml is 'a/b'"),
        ({"without": {"x": ["student.slim.nothing=1"]}}, "conf/ does not compose: .*nothing"),
        ({"seeds": ["one"]}, r"`levers.seeds\[0\]` is 'one'; allowed: a list of whole numbers"),
        ({"more": 1}, "`levers.more`"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "levers.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load((ROOT / "conf/levers.yaml").read_text()) | change))
    monkeypatch.chdir(ROOT)
    with pytest.raises(PipelineError, match=message):
        levers.read(path)


def test_differences_are_paired_over_the_queries(labels: np.ndarray) -> None:
    """Two students with as many wrong answers: of the same queries, nothing is between them; of others, noise is."""
    same, other, worse = list(range(6)), list(range(40, 46)), list(range(30))
    found = levers.compared(SMALL, judged(labels, [same, same, other, worse, []]), labels == 3, RULE.rate)
    assert found["without"].tolist() == SMALL.labels
    assert found["accuracy"].tolist() == pytest.approx([0.94, 0.94, 0.94, 0.7, 1.0])
    assert found["difference"].tolist() == pytest.approx([0, 0, 0, -0.24, 0.06])
    assert found.loc[1, ["low", "high", "rule_low", "rule_high"]].tolist() == [0, 0, 0, 0]
    assert found.loc[2, "low"] < 0 < found.loc[2, "high"]
    assert found.loc[3, "high"] < 0
    assert found.loc[4, "error"] == 0
    # Six of 90 queries in scope are wrong, and four fifths of the traffic are in scope.
    assert found.loc[0, "expected_accuracy_with_rule"] == pytest.approx(1 - 0.8 * 6 / 90)


def test_the_page_has_a_row_for_each_and_says_what_was_left_out(
    labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levers.paths, "REPORTS", tmp_path)
    table = levers.compared(SMALL, judged(labels, [[0], [0, 1], [2], [3], []]), labels == 3, RULE.rate)
    path = levers.write(table, SMALL, Path("conf/levers.yaml"), len(labels), 10)
    assert path == tmp_path / "kd/README.md"
    assert {path.name for path in (tmp_path / "kd").iterdir()} == {"README.md", "levers.csv", "levers.png"}
    page = path.read_text()
    assert "| without | by arg-max | points | with the rule | points | squared error |" in page
    assert "| (all of them) | 99.00 % |  | 99.11 % |  |" in page
    assert "| emphasis | 98.00 % | -1.00 [" in page
    assert "- without emphasis: `student.slim.emphasis=0.0`\n- without common words:" in page
    assert "with all levers and 3 seeds, the standard deviation is 0.58 points by arg-max" in page
    assert len(pd.read_csv(tmp_path / "kd/levers.csv")) == 5


def test_a_teachers_page_has_no_error_against_itself(
    labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levers.paths, "REPORTS", tmp_path)
    own = dataclasses.replace(SMALL, name="own", model="teacher")
    assert own.experiments["own-5"] == ["augment.number=5", "run.seed=2"]
    table = levers.compared(own, judged(labels, [[0], [0, 1], [2], [3], []]), labels == 3, RULE.rate)
    page = levers.write(table, own, Path("conf/teacher_levers.yaml"), len(labels), 10).read_text()
    assert "`python -m tools.levers --config teacher_levers` of [conf/teacher_levers.yaml]" in page
    assert "Each row is the teacher trained without one" in page
    assert "squared error" not in page


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("levers", "distill@slim")),
        (["--config", "teacher_levers"], ("teacher_levers", "finetune-teacher@teacher")),
    ],
)
def test_it_runs_the_models_training_alone(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: tuple[str, str]
) -> None:
    class AskedError(Exception):
        pass

    def run(name: str, asked: dict[str, list[str]], target: str) -> None:
        raise AskedError(name, len(asked), target)

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sweep, "run", run)
    with pytest.raises(AskedError) as asked:
        run_tool(levers, monkeypatch, *words)
    name, count, target = asked.value.args
    assert (name, target) == expected
    assert count == len(levers.read(levers.CONFIGS / f"{name}.yaml").labels)
