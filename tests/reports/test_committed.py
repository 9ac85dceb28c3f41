"""The committed reports: of the variants that params.yaml declares, in step with each other and with the README.

What is held to a limit here is accuracy and size, the same on each machine; latencies are the committing machine's.
"""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from made import read

from intents.core import paths, table
from intents.data.corpus import OUT_OF_SCOPE
from intents.reports import results
from tools import readme

Variants = dict[str, dict[str, Any]]
NAMES = {
    *("teacher", "half", "labels", "half-qat"),
    *(f"half-{method}" for method in ("movement", "magnitude", "structured")),
    *(f"{model}-torch-{method}" for model in ("half", "half-qat") for method in ("dynamic", "static")),
    *(
        f"{model}-{form}"
        for model in ("teacher", "half", "half-movement", "half-magnitude", "half-structured", "half-qat")
        for form in ("onnx", "ort-dynamic", "ort-static")
    ),
}


@pytest.fixture(autouse=True)
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def benchmark() -> dict[str, Any]:
    return read("reports/benchmark.json")


@pytest.fixture
def variants(benchmark: dict[str, Any]) -> Variants:
    return benchmark["variants"]


def points_lost(variants: Variants, name: str, parent: str) -> float:
    return 100 * (variants[parent]["accuracy_with_rule"] - variants[name]["accuracy_with_rule"])


# Which variants there are.


def test_the_table_has_every_variant_that_is_declared_in_this_order(variants: Variants) -> None:
    assert list(variants) == [variant.name for variant in table.declared()]


def test_the_table_has_every_technique(variants: Variants) -> None:
    assert variants.keys() >= NAMES


# The reports agree with each other.


def test_the_benchmark_is_joined_of_evaluation_manifest_and_latency(variants: Variants) -> None:
    evaluated, manifest, timed = (read(f"reports/{name}.json") for name in ("evaluation", "manifest", "latency"))
    assert list(evaluated["variants"]) == list(manifest) == list(timed["variants"]) == list(variants)
    for name, row in variants.items():
        described = {key: manifest[name][key] for key in ("folder", "size_mb", "parameters")}
        joined = evaluated["variants"][name] | timed["variants"][name] | described
        assert {key: row[key] for key in joined} == joined


def test_the_summary_is_that_of_the_benchmark(variants: Variants) -> None:
    summary = read("reports/summary.json")
    assert {name: (row["accuracy_with_rule"], row["p50_ms"]) for name, row in summary.items()} == {
        name: (round(row["accuracy_with_rule"], 4), round(row["p50_ms"], 2)) for name, row in variants.items()
    }


def test_the_outcomes_of_the_queries_are_those_of_the_accuracies(variants: Variants) -> None:
    with paths.CORRECT.open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0].keys() - {"intent"} == {"test_row", *variants}
    for name, row in variants.items():
        assert sum(int(outcome[name]) for outcome in rows) / len(rows) == pytest.approx(
            row["accuracy_with_rule"], abs=1e-6
        )


def test_the_readme_says_what_the_reports_say() -> None:
    text = readme.README.read_text()
    assert readme.updated(text) == text


def test_the_figures_of_the_data_set_in_the_readme_are_those_of_the_reports() -> None:
    text = readme.README.read_text()
    with Path("reports/intents.csv").open() as file:
        intents = {row["intent"] for row in csv.DictReader(file)} - {OUT_OF_SCOPE}
    assert re.findall(r"recognises (\d+) intents", text) == [str(len(intents))]
    outside = read("reports/data.json")["validation"]["out_of_scope"]
    assert re.findall(r"validation has only (\d+) out-of-scope queries", text) == [str(outside)]


def test_the_report_opens_with_the_table_of_the_benchmark(benchmark: dict[str, Any]) -> None:
    main = results.tables.results(benchmark["variants"], benchmark["best"])
    assert main in Path("reports/report.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "reports/report.md", "reports/primer/README.md"])
def test_every_picture_and_file_that_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", Path(page).read_text())
    assert links != []
    assert [link for link in links if not (Path(page).parent / link).exists()] == []


# What the project promises of its models on CLINC150.


def test_teacher_and_student_are_as_good_as_they_should_be(variants: Variants) -> None:
    assert variants["teacher"]["accuracy"] >= 0.87
    assert variants["teacher"]["accuracy_with_rule"] >= 0.92
    assert points_lost(variants, "half", "teacher") <= 1


def test_the_deployed_variant_is_small_and_near_the_teacher(benchmark: dict[str, Any], variants: Variants) -> None:
    deployed = variants[benchmark["deployed"]]
    assert deployed["deployable"]
    assert deployed["size_ratio_vs_teacher"] >= 30
    assert deployed["size_mb"] <= 2.5
    assert points_lost(variants, benchmark["deployed"], "teacher") <= 2.5


def test_int8_costs_no_more_than_a_point(variants: Variants) -> None:
    quantized = {name: row for name, row in variants.items() if "flipped_in_padded_batches" in row}
    assert len(quantized) >= 12
    parents = {name: row["parity"]["parent"] for name, row in quantized.items()}
    assert {name: lost for name, parent in parents.items() if (lost := points_lost(variants, name, parent)) > 1} == {}


@pytest.mark.parametrize("runtime", ["", "-onnx", "-ort-dynamic", "-ort-static"])
def test_structured_pruning_costs_little_and_makes_the_file_smaller(variants: Variants, runtime: str) -> None:
    pruned, student = f"half-structured{runtime}", f"half{runtime}"
    assert variants["half-structured"]["encoder_sparsity"] >= 0.5
    assert variants[pruned]["size_mb"] < variants[student]["size_mb"]
    assert points_lost(variants, pruned, student) <= 1.5
