"""The committed reports keep what the project promises of its models on CLINC150, in both tables."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

REPORTS = [ROOT / "reports/benchmark.json", ROOT / "reports/whole/benchmark.json"]
Variants = dict[str, dict[str, Any]]


@pytest.fixture(params=REPORTS, ids=["repro", "whole"])
def variants(request: pytest.FixtureRequest) -> Variants:
    return json.loads(request.param.read_text())["variants"]


def points_lost(variants: Variants, name: str, parent: str) -> float:
    return 100 * (variants[parent]["accuracy_with_rule"] - variants[name]["accuracy_with_rule"])


def test_teacher_and_student_are_as_good_as_they_should_be(variants: Variants) -> None:
    assert variants["teacher"]["accuracy"] >= 0.87
    assert variants["teacher"]["accuracy_with_rule"] >= 0.92
    assert points_lost(variants, "student", "teacher") <= 1


@pytest.mark.parametrize("path", REPORTS, ids=["repro", "whole"])
def test_the_best_variant_is_small_fast_and_near_the_teacher(path: Path) -> None:
    report = json.loads(path.read_text())
    best = report["variants"][report["best"]]
    assert best["deployable"]
    assert best["speedup_vs_teacher"] >= 8
    assert best["size_ratio_vs_teacher"] >= 5
    assert points_lost(report["variants"], report["best"], "teacher") <= 1


def test_int8_costs_no_more_than_a_point(variants: Variants) -> None:
    parents = {name: row["parity"]["parent"] for name, row in variants.items() if "parity_in_padded_batches" in row}
    assert len(parents) >= 8
    assert {name: lost for name, parent in parents.items() if (lost := points_lost(variants, name, parent)) > 1} == {}


@pytest.mark.parametrize("runtime", ["", "-onnx", "-ort-dynamic", "-ort-static"])
def test_structured_pruning_pays_in_every_runtime(variants: Variants, runtime: str) -> None:
    pruned, student = variants[f"pruned-structured{runtime}"], variants[f"student{runtime}"]
    assert variants["pruned-structured"]["encoder_sparsity"] >= 0.5
    assert student["p50_ms"] / pruned["p50_ms"] >= 1.5
    assert points_lost(variants, f"pruned-structured{runtime}", f"student{runtime}") <= 1.5


def test_the_whole_table_has_every_technique() -> None:
    names = json.loads(REPORTS[1].read_text())["variants"].keys()
    assert names >= {f"pruned-{method}-ort-static" for method in ("movement", "magnitude", "structured")}
    assert names >= {f"student-torch-{method}" for method in ("dynamic", "static", "qat")}
    assert names >= {"qat-ort-static", "student-ort-dynamic", "student-ort-static", "control-0", "control-1"}


def test_the_artifact_is_the_best_variant() -> None:
    report = json.loads(REPORTS[0].read_text())
    artifact = yaml.safe_load((ROOT / "dvc.yaml").read_text())["artifacts"]["intent-classifier"]
    assert artifact["path"] == report["variants"][report["best"]]["folder"]


@pytest.mark.parametrize("path", REPORTS, ids=["repro", "whole"])
def test_the_summary_is_that_of_the_benchmark(path: Path) -> None:
    variants = json.loads(path.read_text())["variants"]
    summary = json.loads((path.parent / "summary.json").read_text())
    assert {name: (row["accuracy_with_rule"], row["p50_ms"]) for name, row in summary.items()} == {
        name: (round(row["accuracy_with_rule"], 4), round(row["p50_ms"], 2)) for name, row in variants.items()
    }


def test_the_same_stages_gave_the_same_models_in_both_runs() -> None:
    """By the digests in the two dvc.lock: models and logits of all stages that both runs have."""
    locks = [yaml.safe_load((folder / "dvc.lock").read_text())["stages"] for folder in (ROOT, ROOT / "reports/whole")]
    made = [
        {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", []) if "data/" in out["path"]}
        for lock in locks
    ]
    common = made[0].keys() & made[1].keys()
    assert len(common) > 30
    assert {path: made[0][path] for path in common} == {path: made[1][path] for path in common}
