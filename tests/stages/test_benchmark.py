"""benchmark: the table has every key of the contract for every variant, and each can be computed again."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODELS, compose, contents, run
from safetensors.numpy import load_file

from intents.core.errors import PipelineError
from intents.evaluation import threshold
from stages import benchmark

LABELS = np.repeat([0, 1, 3, 2], 10)  # of the test split in canonical order: alarm, music, oos, weather
CONTRACT = {
    *("accuracy", "accuracy_with_rule", "in_scope_accuracy", "oos_recall", "size_mb", "time_avg_ms", "time_std_ms"),
    *("p50_ms", "p95_ms", "p99_ms", "speedup_vs_teacher", "size_ratio_vs_teacher"),
}
VARIANTS = [
    *MODELS,
    "student-torch-dynamic",
    *(f"{model}-{form}" for model in MODELS for form in ("onnx", "ort-dynamic", "ort-static")),
]


@pytest.fixture
def report(built: Path) -> dict[str, Any]:
    return json.loads((built / "reports/benchmark.json").read_text())


@pytest.fixture
def table(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return report["variants"]


@pytest.fixture
def timings(built: Path) -> list[dict[str, str]]:
    with (built / "reports/timings.csv").open() as file:
        return list(csv.DictReader(file))


def milliseconds(timings: list[dict[str, str]], measure: str, variant: str) -> list[float]:
    return [float(row["ms"]) for row in timings if (row["measure"], row["variant"]) == (measure, variant)]


def test_every_variant_has_every_figure_of_the_contract(table: dict[str, dict[str, Any]]) -> None:
    assert sorted(table) == sorted(VARIANTS)
    for name, figures in table.items():
        assert set(figures) >= CONTRACT
        assert all(np.isfinite(figures[key]) and figures[key] >= 0 for key in CONTRACT), name
        assert figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["time_avg_ms"] > 0


def test_the_summary_is_what_a_variant_is_chosen_by_and_what_it_is_worth(
    built: Path, table: dict[str, dict[str, Any]]
) -> None:
    summary = json.loads((built / "reports/summary.json").read_text())
    assert list(summary) == list(table)
    for name, figures in summary.items():
        chosen_by = figures.pop("validation_accuracy_with_rule")
        assert chosen_by == pytest.approx(table[name]["validation"]["expected_accuracy_with_rule"], abs=0.0001)
        assert set(figures) == {"accuracy_with_rule", "size_mb", "p50_ms"}
        assert figures == pytest.approx({figure: table[name][figure] for figure in figures}, abs=0.0051)


def test_the_machine_is_described(report: dict[str, Any]) -> None:
    assert report["machine"]["cpu"]
    assert report["machine"]["threads"] == 1
    assert set(report["machine"]["libraries"]) >= {"torch", "transformers", "onnxruntime", "tokenizers"}


def test_the_teacher_is_what_the_others_are_measured_against(table: dict[str, dict[str, Any]]) -> None:
    assert table["teacher"]["speedup_vs_teacher"] == 1
    assert table["teacher"]["size_ratio_vs_teacher"] == 1
    assert table["teacher"]["accuracy_change"] == 0
    for figures in table.values():
        assert figures["size_ratio_vs_teacher"] == pytest.approx(
            table["teacher"]["size_mb"] / figures["size_mb"], abs=1e-5
        )


@pytest.mark.usefixtures("built")
def test_accuracies_are_those_of_the_logits_files(table: dict[str, dict[str, Any]]) -> None:
    for name, figures in table.items():
        logits = load_file(f"data/logits/{name}.safetensors")["test"]
        score = np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))
        plain = logits.argmax(axis=1)
        ruled = np.where(score < figures["threshold"], 3, plain)
        for ending, answers in (("", plain), ("_with_rule", ruled)):
            right = answers == LABELS
            assert figures[f"accuracy{ending}"] == pytest.approx(right.mean(), abs=1e-6)
            assert figures[f"in_scope_accuracy{ending}"] == pytest.approx(right[LABELS != 3].mean(), abs=1e-6)
            assert figures[f"oos_recall{ending}"] == pytest.approx(right[LABELS == 3].mean(), abs=1e-6)
    assert len({figures["accuracy_with_rule"] for figures in table.values()}) > 1


def test_changes_of_accuracy_lie_within_their_intervals(table: dict[str, dict[str, Any]]) -> None:
    for figures in table.values():
        for measure in ("accuracy", "accuracy_with_rule"):
            change, (low, high) = figures[f"{measure}_change"], figures[f"{measure}_change_interval"]
            assert change == pytest.approx(figures[measure] - table["teacher"][measure], abs=2e-6)
            assert low <= change <= high


def test_every_timed_call_is_kept_and_gives_the_figures(
    table: dict[str, dict[str, Any]], timings: list[dict[str, str]]
) -> None:
    assert list(timings[0]) == ["measure", "variant", "call", "test_row", "ms"]
    assert len(timings) == len(VARIANTS) * (3 + 5)
    for name, figures in table.items():
        reference, real = (milliseconds(timings, measure, name) for measure in ("reference", "real"))
        assert (len(reference), len(real)) == (3, 5)
        assert figures["time_avg_ms"] == pytest.approx(np.mean(reference), abs=2e-4)
        assert figures["time_std_ms"] == pytest.approx(np.std(reference), abs=2e-4)
        for percentile in (50, 95, 99):
            assert figures[f"p{percentile}_ms"] == pytest.approx(np.percentile(real, percentile), abs=2e-4)
        speedup = np.median(milliseconds(timings, "real", "teacher")) / np.median(real)
        assert figures["speedup_vs_teacher"] == pytest.approx(speedup, rel=2e-3)
        low, high = figures["speedup_interval"]
        assert low <= figures["speedup_vs_teacher"] <= high


def test_all_variants_answer_the_same_queries_of_the_test_split(timings: list[dict[str, str]]) -> None:
    asked = {name: [row["test_row"] for row in timings if row["variant"] == name] for name in VARIANTS}
    assert len({tuple(rows) for rows in asked.values()}) == 1
    rows = [int(row) for row in asked["teacher"] if row]
    assert len(set(rows)) == 5
    assert all(0 <= row < 40 for row in rows)


def test_served_answers_are_those_that_accuracy_was_computed_from(table: dict[str, dict[str, Any]]) -> None:
    assert {name: figures["served_agreement"] for name, figures in table.items()} == dict.fromkeys(VARIANTS, 1.0)


@pytest.mark.usefixtures("built")
def test_which_queries_were_answered_rightly_is_kept(table: dict[str, dict[str, Any]]) -> None:
    with Path("reports/correct.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["test_row"]) for row in rows] == list(range(40))
    for name, figures in table.items():
        right = np.array([int(row[name]) for row in rows])
        logits = load_file(f"data/logits/{name}.safetensors")["test"]
        assert (right == (threshold.decide(logits, figures["threshold"]) == LABELS)).all()


def test_only_onnx_variants_count_as_deployable(table: dict[str, dict[str, Any]]) -> None:
    deployable = {name for name, figures in table.items() if figures["deployable"]}
    assert deployable == {
        name for name in VARIANTS if name.endswith(("-onnx", "-dynamic", "-static")) and "-torch-" not in name
    }


def test_best_is_the_rules_choice_from_the_table(report: dict[str, Any]) -> None:
    assert report["best"] == benchmark.best_deployable(report["variants"], 0.01, 0.1)
    assert report["budget"] == {"max_accuracy_drop": 0.01, "tie": 0.1}


def test_variants_stand_in_the_order_of_the_table(table: dict[str, dict[str, Any]]) -> None:
    assert list(table)[:2] == ["teacher", "student"]


def test_models_left_out_of_the_variants_are_left_out_of_the_table(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*overrides, "~variants.models.pruned-magnitude", "benchmark.queries=1000", "benchmark.calls=1")
    run(benchmark)
    names = json.loads((built / "reports/benchmark.json").read_text())["variants"]
    assert set(names) == {name for name in VARIANTS if not name.startswith("pruned-magnitude")}
    with (built / "reports/timings.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["variant"], row["measure"]) == ("student", "real")]
    asked = [int(row["test_row"]) for row in rows]
    assert sorted(asked) == list(range(40))  # more queries than there are: each once


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("data/teacher", "data/teacher not found; run `dvc repro`"),
        (
            "data/quantized/dynamic/int8.safetensors",
            "data/quantized/dynamic/int8.safetensors not found; run `dvc repro quantize@dynamic`",
        ),
        ("data/ort/dynamic/student/model.onnx", "data/ort/dynamic/student/model.onnx not found"),
        ("reports/quality/pruned-movement.json", "reports/quality/pruned-movement.json not found; run `dvc repro`"),
        ("data/logits/teacher-onnx.safetensors", "data/logits/teacher-onnx.safetensors not found; run `dvc repro`"),
        ("data/clinc", "run `dvc repro fetch-clinc`"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run_and_changes_nothing(
    built: Path, monkeypatch: pytest.MonkeyPatch, gone: str, message: str
) -> None:
    (built / gone).rename(built.parent / "elsewhere")
    before = contents(built)
    with pytest.raises(PipelineError, match=message):
        run(benchmark)
    assert contents(built) == before


# The rule that chooses the best variant and the Pareto front, on tables made by hand.


def row(accuracy: float, p50: float, deployable: bool = True, size: float = 1.0) -> dict[str, Any]:
    validation = {"expected_accuracy_with_rule": accuracy}
    return {"validation": validation, "p50_ms": p50, "deployable": deployable, "size_mb": size}


@pytest.mark.parametrize(
    ("rows", "front"),
    [
        ({"a": row(0.9, 2.0), "b": row(0.8, 1.0)}, {"a", "b"}),
        ({"a": row(0.9, 1.0), "b": row(0.8, 2.0)}, {"a"}),
        ({"a": row(0.9, 1.0), "b": row(0.9, 1.0, size=2.0)}, {"a"}),
        ({"a": row(0.9, 1.0), "b": row(0.8, 2.0, size=0.5)}, {"a", "b"}),
        ({"a": row(0.9, 1.0), "b": row(0.9, 1.0)}, {"a", "b"}),  # neither is better in anything
        ({"a": row(0.9, 3.0), "b": row(0.8, 2.0), "c": row(0.85, 1.9), "d": row(0.7, 1.0)}, {"a", "c", "d"}),
    ],
)
def test_the_pareto_front_is_what_no_other_beats(rows: dict[str, dict[str, Any]], front: set[str]) -> None:
    assert benchmark.pareto_front(rows) == front


def test_the_marks_are_those_of_the_front(table: dict[str, dict[str, Any]]) -> None:
    assert {name for name, figures in table.items() if figures["pareto"]} == benchmark.pareto_front(table)


TEACHER = row(0.90, 9.0, deployable=False)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ({"a": row(0.90, 2.0), "b": row(0.90, 1.0)}, "b"),  # the fastest
        ({"a": row(0.89, 2.0), "b": row(0.88, 1.0)}, "a"),  # the fastest within the budget; its bound is within
        ({"a": row(0.89, 1.09), "b": row(0.895, 1.10), "c": row(0.90, 1.11), "d": row(0.89, 1.0)}, "b"),  # a tie
        ({"a": row(0.88, 1.0), "b": row(0.89, 1.2), "c": row(0.90, 1.33)}, "b"),  # a tie is with the fastest within
        ({"a": row(0.95, 3.0), "b": row(0.89, 1.0)}, "b"),  # more accurate than need be is no merit beyond a tie
        ({"a": row(0.90, 0.5, deployable=False), "b": row(0.90, 1.0)}, "b"),  # needs torch
        ({"a": row(0.80, 1.0)}, None),
        ({"a": row(0.95, 1.0, deployable=False)}, None),
        ({}, None),
    ],
)
def test_best_is_the_fastest_within_the_budget_and_the_most_accurate_of_a_tie(
    rows: dict[str, dict[str, Any]], best: str | None
) -> None:
    # A hair more than 0.01 and 0.1: sums of decimals are inexact, and values at the bound count as within.
    assert benchmark.best_deployable({"teacher": TEACHER} | rows, 0.01 + 1e-9, 0.1 + 1e-9) == best


def test_no_budget_and_no_tie_leave_the_fastest_of_those_as_good_as_the_teacher() -> None:
    rows = {"teacher": TEACHER, "a": row(0.90, 2.0), "b": row(0.8999, 1.0), "c": row(0.99, 2.001)}
    assert benchmark.best_deployable(rows, 0.0, 0.0) == "a"


def test_test_figures_have_no_say_in_the_choice() -> None:
    rows = {"teacher": TEACHER, "a": row(0.90, 2.0) | {"accuracy_with_rule": 0.1}, "b": row(0.88, 1.0)}
    rows["b"]["accuracy_with_rule"] = 1.0
    assert benchmark.best_deployable(rows, 0.01, 0.1) == "a"
