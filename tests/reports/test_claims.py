"""What the README says in prose is what the settings and the committed reports say, as far as a figure can tell.

What stands between its markers is written from the reports (tests/tools/test_readme.py, test_committed.py).
"""

import re
from typing import Any

import pytest
import yaml
from conftest import ROOT
from core.mistakes import IN_SETTINGS
from made import read

from intents.serving.classifier import LONGEST

README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.fixture(autouse=True)
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def benchmark() -> dict[str, Any]:
    return read("reports/benchmark.json")


@pytest.fixture
def settings() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def said(pattern: str) -> str:
    """What the one place in the README that a pattern describes says."""
    found = re.findall(pattern, README)
    assert len(found) == 1, pattern
    return found[0]


def test_an_answer_takes_a_fraction_of_a_millisecond(benchmark: dict[str, Any]) -> None:
    assert said("answers in a fraction of a millisecond on a CPU")
    assert benchmark["variants"][benchmark["deployed"]]["p50_ms"] < 0.5


def test_the_second_teacher_is_of_the_size_that_is_said() -> None:
    row = read("reports/manifest.json")["teacher-mpnet"]
    assert float(said(r"MPNet \(about (\d+) MiB\)")) == pytest.approx(row["size_mb"], rel=0.02)
    assert said("a second teacher, MPNet, of BERT-base's size")
    assert row["parameters"] == pytest.approx(110e6, rel=0.02)  # BERT-base, Devlin et al. (2019)


def test_students_have_the_layers_that_are_said(settings: dict[str, Any]) -> None:
    student = settings["student"]
    assert said("`half` . a student of every other layer of the teacher")
    assert said(r"The students `half` and `labels` copy layers of a (six)-layer teacher")
    assert student["half"]["layers"] == student["labels"]["layers"] == [1, 3, 5]
    longer = said(r"'student\.half\.layers=(\[[\d,]+\])'")
    assert yaml.safe_load(longer) == list(range(1, 12, 2))
    assert said("`narrow`, `slim` . students of two layers and of one, narrower than the teacher")
    assert [student[name]["shape"]["layers"] for name in ("narrow", "slim")] == [2, 1]
    assert max(student[name]["shape"]["hidden"] for name in ("narrow", "slim")) < 384  # MiniLM's


def test_there_are_few_out_of_scope_queries_and_arg_max_misses_many(benchmark: dict[str, Any]) -> None:
    assert said("Training data has few out-of-scope queries, and arg-max misses many of those in the test split")
    train = read("reports/data.json")["train"]
    assert train["out_of_scope"] < 0.02 * train["in_scope"]
    assert max(row["oos_recall"] for row in benchmark["variants"].values()) < 0.8


def test_a_student_of_the_teachers_layers_gains_little_from_its_answers(benchmark: dict[str, Any]) -> None:
    assert said("A student that starts from layers of the teacher has little left to gain from its answers")
    low, high = benchmark["variants"]["labels"]["distilled"]["gain_interval"]
    assert low <= 0 <= high


def test_evaluating_takes_seconds() -> None:
    assert said("from the cached logits, in seconds")
    assert read("reports/durations.json")["stages"]["evaluate"] < 60


def test_the_oldest_python_is_the_one_that_the_makefile_and_the_linter_take() -> None:
    version = said(r"You need Python (3\.\d+) or newer")
    assert f"sys.version_info < ({version.replace('.', ', ')})" in (ROOT / "Makefile").read_text()
    assert f'target-version = "py{version.replace(".", "")}"' in (ROOT / "pyproject.toml").read_text()


def test_the_error_that_is_shown_is_the_one_that_comes() -> None:
    mistake = IN_SETTINGS["alpha 1.5"]
    assert said(rf"\$ python -m {' '.join(mistake.command)} error: (.+?) ```") == "; ".join(mistake.named)


def test_the_recipes_say_how_much_of_a_query_is_read() -> None:
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert re.findall(r"first ([\d,]+) characters of a query", text) == [f"{LONGEST:,}"]
