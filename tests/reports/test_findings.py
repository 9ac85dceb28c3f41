"""findings: what the README says a run shows, from the rows of a small benchmark and outcomes made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from intents.evaluation.statistics import paired_difference
from intents.reports import findings

QUERIES = 200
# Of so many queries each variant answers the first ones rightly.
RIGHT = {
    "teacher": 190,
    "half": 188,
    "labels": 187,
    "half-movement": 170,
    "half-structured": 180,
    "half-torch-dynamic": 189,
    "teacher-onnx": 190,
    "half-onnx": 188,
    "half-structured-onnx": 180,
    "half-ort-dynamic": 184,
    "half-ort-static": 187,
}


@pytest.fixture
def correct() -> pd.DataFrame:
    return pd.DataFrame({name: (np.arange(QUERIES) < right).astype(int) for name, right in RIGHT.items()})


@pytest.fixture
def whole(benchmark: dict[str, Any]) -> dict[str, Any]:
    """The benchmark, its rows with parameters."""
    for name, row in benchmark["variants"].items():
        row["parameters"] = 100 if name.startswith("teacher") else 75
    return benchmark


def added(benchmark: dict[str, Any], correct: pd.DataFrame, name: str, like: str, right: int, **figures: Any) -> None:
    """A further variant: a copy of another's row, with some figures of its own."""
    benchmark["variants"][name] = benchmark["variants"][like] | figures
    correct[name] = (np.arange(QUERIES) < right).astype(int)


def items(benchmark: dict[str, Any], correct: pd.DataFrame) -> list[str]:
    """The items of the list, each on one line."""
    text = findings.findings(benchmark, correct)
    assert text.startswith("- ")
    return [" ".join(item.split()) for item in text.removeprefix("- ").split("\n- ")]


def test_a_change_is_that_of_the_paired_outcomes(whole: dict[str, Any], correct: pd.DataFrame) -> None:
    found = findings.Findings(whole["variants"], correct).change("half-movement", "half")
    change, interval = paired_difference(
        np.arange(QUERIES) < 170, np.arange(QUERIES) < 188, findings.SAMPLES, findings.SEED
    )
    assert (found.gain, found.interval) == (change, interval)
    assert found.gain == pytest.approx(-0.09)
    assert found.measurable
    assert not findings.Findings(whole["variants"], correct).change("half", "labels").measurable


def test_each_technique_of_the_run_has_its_item(whole: dict[str, Any], correct: pd.DataFrame) -> None:
    first, int8, movement, structured, distilled = items(whole, correct)
    # Of the deployable students half-onnx and half-ort-dynamic are equally good on validation: the first is named.
    assert first.startswith("**The most accurate deployable student** (on validation) is `half-onnx`: -1.00 [")
    assert first.endswith("1.3 times smaller, and 4 times as fast as the teacher's Hugging Face pipeline.")
    assert int8.startswith("**int8** changes accuracy by at most 2.0 points")  # half-ort-dynamic: 184 instead of 188
    assert movement.startswith("**Pruning**: `half-movement`, without 80 % of the encoder's weights, -9.00 [")
    assert structured.startswith("**Pruning**: `half-structured`, without 50 % of the encoder's weights, -4.00 [")
    assert distilled.startswith("**Distillation**: `half`, +1.00 [+0.40, +1.60] points against `labels`")


def test_small_students_second_teachers_and_training_for_int8(whole: dict[str, Any], correct: pd.DataFrame) -> None:
    added(
        whole, correct, "slim-ort-static", "half-ort-dynamic", 180, parameters=19, size_mb=2.3, speedup_vs_teacher=60.0
    )
    added(whole, correct, "slim-ort-dynamic", "half-ort-dynamic", 180, parameters=19, size_mb=2.6, pareto=False)
    added(whole, correct, "teacher-big", "teacher", 195, accuracy=0.90)
    added(whole, correct, "half-qat-ort-static", "half-ort-static", 188)
    added(whole, correct, "half-structured-ort-static", "half-ort-static", 180, p50_ms=0.5)
    text = "\n".join(items(whole, correct))
    assert (
        "**Small students** on the front, in int8: 2.3 MiB, 60 times as fast as that pipeline, and -1.0 points" in text
    )
    assert "`teacher-big`: +2.50 [" in text
    assert "points against the teacher, and +3.0 by arg-max." in text
    assert "same form without it: +0.5 points, of which none is measurable." in text
    assert "against `half`, and 2.0 times as fast in ONNX Runtime int8." in text


def test_a_run_of_a_teacher_alone_shows_nothing(whole: dict[str, Any], correct: pd.DataFrame) -> None:
    whole["variants"] = {"teacher": whole["variants"]["teacher"]}
    assert findings.findings(whole, correct[["teacher"]]) == ""
