"""select: accuracy, size and latency joined from files made by hand, and what is chosen from them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import compose, contents, run
from made import read

from intents.core.errors import PipelineError
from stages import select

# (accuracy on validation, accuracy on test, size, p50): half-ort-static is the best, teacher-onnx the most accurate.
TABLE = {
    "teacher": (0.900, 0.91, 80.0, 9.0),
    "half": (0.895, 0.90, 40.0, 5.0),
    "labels": (0.880, 0.99, 40.0, 5.0),
    "half-torch-dynamic": (0.899, 0.89, 15.0, 0.5),
    "teacher-onnx": (0.901, 0.90, 80.0, 4.0),
    "half-onnx": (0.896, 0.90, 40.0, 2.0),
    "half-ort-dynamic": (0.893, 0.89, 12.0, 1.00),
    "half-ort-static": (0.894, 0.88, 12.5, 1.09),
}
# half, labels and half-onnx are beaten by half-torch-dynamic in all three, and teacher by teacher-onnx.
FRONT = {"half-torch-dynamic", "teacher-onnx", "half-ort-dynamic", "half-ort-static"}
BUDGET = "select.max_accuracy_drop=0.03"
LATENCIES = ("time_avg_ms", "time_std_ms", "p50_ms", "p95_ms", "p99_ms", "speedup_vs_teacher", "served_agreement")
WRITTEN = ("benchmark.json", "summary.json", "tradeoff.csv")


def write(path: str, content: object) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(content))


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the three files that select reads, and params.yaml."""
    monkeypatch.chdir(tmp_path)
    compose(BUDGET)
    evaluated = {
        name: {
            **{key: test - 0.001 * place for place, key in enumerate(("accuracy", "in_scope_accuracy", "oos_recall"))},
            "accuracy_with_rule": test,
            "validation": {
                **{"accuracy": 0.5, "accuracy_with_rule": 0.6, "expected_accuracy_with_rule": validation},
                "change_interval": [round(validation - 0.92, 6), round(validation - 0.88, 6)],
            },
            "threshold": 2.0,
            "operators": {"MatMul": 3},
        }
        for name, (validation, test, *_) in TABLE.items()
    }
    manifest = {
        name: {
            "folder": f"models/{name}",
            "file": "model",
            "sha256": "5" * 64,
            "size_mb": size,
            "parameters": 17,
            "logits_sha256": "6" * 64,
        }
        for name, (*_, size, _) in TABLE.items()
    }
    timed = {
        name: {key: p50 + place for place, key in enumerate(LATENCIES)} | {"p50_ms": p50, "speedup_interval": [1, 2]}
        for name, (*_, p50) in TABLE.items()
    }
    write("reports/evaluation.json", {"variants": evaluated})
    write("reports/manifest.json", manifest)
    machine = {"cpu": "a chip"}
    latency = {"machine": machine, "multiply": {"tokens": {}}, "batch_size": 32, "variants": timed}
    write("reports/latency.json", latency)
    return tmp_path


@pytest.fixture
def report(joined: Path) -> dict[str, Any]:
    run(select)
    return read("reports/benchmark.json")


def test_a_row_is_all_that_the_three_files_say_and_what_follows_from_it(report: dict[str, Any]) -> None:
    evaluated = read("reports/evaluation.json")["variants"]
    timed = read("reports/latency.json")["variants"]
    for name, row in report["variants"].items():
        assert row == {
            **evaluated[name],
            **timed[name],
            "folder": f"models/{name}",
            "size_mb": TABLE[name][2],
            "parameters": 17,
            "size_ratio_vs_teacher": pytest.approx(80 / TABLE[name][2], abs=1e-6),
            "deployable": "-onnx" in name or "-ort-" in name,
            "peer": False,
            "pareto": name in FRONT,
            "loss_beyond_budget": "open" if TABLE[name][0] < 0.89 else "excluded",
        }


def test_rows_stand_in_the_order_of_the_table(report: dict[str, Any]) -> None:
    assert list(report["variants"]) == list(TABLE)
    assert list(read("reports/summary.json")) == list(TABLE)


def test_the_machine_is_that_of_the_timings(report: dict[str, Any]) -> None:
    assert report["machine"] == {"cpu": "a chip"}
    assert set(report) == {"machine", "best", "deployed", "batch_size", "budget", "variants"}
    assert report["batch_size"] == 32


def test_best_is_the_fastest_within_the_budget_and_the_most_accurate_of_a_tie(report: dict[str, Any]) -> None:
    """half-torch-dynamic is faster, but needs torch; half-ort-dynamic is faster by less than the tie."""
    assert report["best"] == report["deployed"] == "half-ort-static"
    assert report["budget"] == {"max_accuracy_drop": 0.03, "tie": 0.1}


def test_a_peer_is_no_choice_and_hides_none(joined: Path) -> None:
    """It is more accurate, smaller and faster than all."""
    for path, key in (("evaluation", "variants"), ("latency", "variants"), ("manifest", None)):
        content = read(f"reports/{path}.json")
        rows = content[key] if key else content
        rows["peer-tfidf"] = {**rows["half-ort-static"], "size_mb": 0.1, "p50_ms": 0.01}
        if path == "evaluation":
            rows["peer-tfidf"]["validation"] = {"expected_accuracy_with_rule": 0.999, "change_interval": [0, 0]}
        write(f"reports/{path}.json", content)
    run(select)
    report = read("reports/benchmark.json")
    assert report["best"] == report["deployed"] == "half-ort-static"
    assert {name for name, row in report["variants"].items() if row["pareto"]} == FRONT
    assert [name for name, row in report["variants"].items() if row["peer"]] == ["peer-tfidf"]


@pytest.mark.parametrize(
    ("settings", "best", "deployed"),
    [
        (["select.tie=0.05"], "half-ort-dynamic", "half-ort-dynamic"),
        (["select.max_accuracy_drop=0.005"], "half-onnx", "half-onnx"),
        (["select.max_accuracy_drop=0.002"], "teacher-onnx", "teacher-onnx"),
        (["select.max_accuracy_drop=1", "select.tie=10"], "teacher-onnx", "teacher-onnx"),
    ],
)
@pytest.mark.usefixtures("joined")
def test_the_budget_and_the_tie_are_settings(settings: list[str], best: str, deployed: str) -> None:
    compose(BUDGET, *settings)
    run(select)
    report = read("reports/benchmark.json")
    assert (report["best"], report["deployed"]) == (best, deployed)


@pytest.mark.usefixtures("joined")
def test_where_none_is_within_the_budget_none_is_best_and_the_most_accurate_is_deployed() -> None:
    evaluated = read("reports/evaluation.json")
    evaluated["variants"]["teacher"]["validation"]["expected_accuracy_with_rule"] = 0.95
    write("reports/evaluation.json", evaluated)
    run(select)
    report = read("reports/benchmark.json")
    assert report["best"] is None
    assert report["deployed"] == "teacher-onnx"


@pytest.mark.usefixtures("joined")
def test_accuracy_on_test_queries_chooses_nothing(joined: Path) -> None:
    """labels, the most accurate on test, is neither on the front nor best, and other figures choose no other."""
    run(select)
    before = read("reports/benchmark.json")
    evaluated = read("reports/evaluation.json")
    for place, row in enumerate(evaluated["variants"].values()):
        row.update(dict.fromkeys(("accuracy", "accuracy_with_rule", "in_scope_accuracy"), 0.1 * place))
        row["validation"].update(accuracy=0.1 * place, accuracy_with_rule=0.1 * place)
    write("reports/evaluation.json", evaluated)
    run(select)
    after = read("reports/benchmark.json")
    for report in (before, after):
        assert {name for name, row in report["variants"].items() if row["pareto"]} == FRONT
        assert report["best"] == "half-ort-static"


@pytest.mark.usefixtures("report")
def test_the_summary_is_what_a_variant_is_chosen_by_and_what_it_is_worth() -> None:
    for name, figures in read("reports/summary.json").items():
        validation, test, size, p50 = TABLE[name]
        assert figures == {
            "validation_accuracy_with_rule": validation,
            "accuracy_with_rule": test,
            "size_mb": size,
            "p50_ms": p50,
        }


def test_the_tradeoff_has_a_row_for_each_variant_as_dvc_draws_it(report: dict[str, Any]) -> None:
    with Path("reports/tradeoff.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(TABLE)
    for row in rows:
        figures = report["variants"][row["variant"]]
        for key in ("accuracy", "accuracy_with_rule", "size_mb", "p50_ms", "speedup_vs_teacher"):
            assert float(row[key]) == pytest.approx(figures[key], abs=1e-6)
        assert row["pareto"] == str(figures["pareto"])


def test_it_needs_the_three_files_alone_and_writes_the_same_bytes_again(joined: Path) -> None:
    assert set(contents(joined)) == {
        "params.yaml",
        *(f"reports/{name}.json" for name in ("evaluation", "manifest", "latency")),
    }
    run(select)
    written = contents(joined)
    assert {f"reports/{name}" for name in WRITTEN} < set(written)
    run(select)
    assert contents(joined) == written


@pytest.mark.parametrize(
    ("gone", "by"), [("evaluation", "evaluate"), ("manifest", "evaluate"), ("latency", "benchmark")]
)
def test_without_one_of_the_files_it_says_what_to_run(joined: Path, gone: str, by: str) -> None:
    (joined / f"reports/{gone}.json").unlink()
    before = contents(joined)
    with pytest.raises(PipelineError, match=f"reports/{gone}.json not found; run `dvc repro {by}`"):
        run(select)
    assert contents(joined) == before


@pytest.mark.parametrize("file", ["manifest", "latency"])
def test_a_file_of_other_variants_is_refused(joined: Path, file: str) -> None:
    """As after a stage that was run by hand, without those downstream of it."""
    content = read(f"reports/{file}.json")
    del content.get("variants", content)["half-onnx"]
    write(f"reports/{file}.json", content)
    with pytest.raises(PipelineError, match=f"reports/{file}.json has no 'half-onnx', but reports/evaluation.json has"):
        run(select)


@pytest.mark.parametrize(
    ("setting", "allowed"), [("max_accuracy_drop=2", "a number from 0 to 1"), ("tie=-1", "a number, 0 or more")]
)
@pytest.mark.usefixtures("joined")
def test_a_setting_that_cannot_be_is_refused(setting: str, allowed: str) -> None:
    compose(f"select.{setting}")
    with pytest.raises(PipelineError, match=f"`select.{setting.split('=')[0]}` is .*; allowed: {allowed}"):
        run(select)


def test_in_the_tiny_project_the_table_has_every_figure_of_the_contract(
    built_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built_once)
    report = read("reports/benchmark.json")
    assert list(report["variants"]) == list(read("reports/evaluation.json")["variants"])
    contract = {
        *("accuracy", "accuracy_with_rule", "in_scope_accuracy", "oos_recall", "size_mb", "time_avg_ms"),
        *("time_std_ms", "p50_ms", "p95_ms", "p99_ms", "speedup_vs_teacher", "size_ratio_vs_teacher"),
        "queries_per_second",
    }
    for name, figures in report["variants"].items():
        assert set(figures) >= contract | {"folder", "parameters", "deployable", "pareto"}, name
        assert all(figures[key] >= 0 for key in contract), name
        assert figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert (Path(figures["folder"]) / read("reports/manifest.json")[name]["file"]).is_file()
        assert figures["deployable"] == ("-onnx" in name or "-ort-" in name)
    assert report["variants"]["teacher"]["speedup_vs_teacher"] == 1
    assert report["variants"]["teacher"]["size_ratio_vs_teacher"] == 1
    assert report["variants"][report["deployed"]]["deployable"]
