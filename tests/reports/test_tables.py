"""tables: what stands in each, for a small benchmark."""

from typing import Any

import pandas as pd
import pytest

from intents.reports import tables

Variants = dict[str, dict[str, Any]]


def cells(table: str) -> dict[str, list[str]]:
    """The cells of a Markdown table by its first column, the header under that of its own."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {first: rest for first, *rest in (lines[0], *lines[2:])}


def test_results_have_accuracy_size_and_both_speedups(variants: Variants) -> None:
    table = cells(tables.results(variants, "half-ort-dynamic"))
    assert table["half"] == [
        *("86.00 %", "92.00 %", "91.00 %", "-1.00 [-1.50, -0.50]"),
        *("60.0", "1.3 ×", "6.00", "1.7 ×", "0.7 ×"),
    ]
    assert table["variant"][-2:] == ["faster than the teacher", "than teacher-onnx"]
    assert table["teacher ◆"][3] == ""  # nothing to compare with itself
    assert table["**half-ort-dynamic** ◆"][-2:] == ["12.5 ×", "5.0 ×"]
    assert len(table) == 1 + len(variants)


def test_without_the_teacher_in_onnx_runtime_there_is_one_speedup(variants: Variants) -> None:
    del variants["teacher-onnx"]
    table = cells(tables.results(variants, None))
    assert table["variant"][-1] == "faster than the teacher"
    assert table["half-ort-dynamic ◆"][-1] == "12.5 ×"
    assert tables.faster_than_onnx(variants, "half") is None
    assert cells(tables.latencies(variants))["half"][-2:] == ["", "100.00 %"]


def test_latencies_have_both_speedups(variants: Variants) -> None:
    assert cells(tables.latencies(variants))["half-ort-dynamic"] == [
        *("0.80 ± 0.10", "0.80", "1.20", "1.60", "12.5 [11.9, 13.1]", "5.0", "100.00 %"),
    ]


def test_throughput_stands_beside_the_first_answer_of_those_that_are_started(variants: Variants) -> None:
    table = cells(tables.throughput(variants))
    assert list(table)[1:] == list(variants)
    assert table["half-ort-dynamic"] == ["2,500", "12.5 ×", "250", "86"]
    assert table["half-torch-dynamic"] == ["800", "4.0 ×", "", ""]


def test_without_throughput_there_is_no_table_of_it(variants: Variants) -> None:
    for row in variants.values():
        del row["queries_per_second"]
    assert tables.throughput(variants) == ""


def test_a_peer_stands_beside_the_deployed_variant_and_is_told_of_where_it_is_better(variants: Variants) -> None:
    assert tables.peers(variants, "half-ort-dynamic") == ""
    ours = variants["half-ort-dynamic"]
    variants["peer-tfidf"] = ours | {"accuracy_with_rule": 0.85, "size_mb": 3.0, "p50_ms": 0.2, "pareto": False}
    variants["peer-other"] = ours | {"pareto": False}
    table = cells(tables.peers(variants, "half-ort-dynamic"))
    assert table["peer-tfidf"] == ["85.00 %", "87.00 %", "3.0", "0.20", "2,500", "size, latency"]
    assert table["peer-other"][-1] == "nothing"
    assert cells(tables.results(variants, None))["peer-tfidf (peer)"][0] == "86.00 %"


def test_the_short_table_has_the_teacher_the_front_and_what_is_always_shown(variants: Variants) -> None:
    variants["teacher"]["pareto"] = False
    assert list(tables.short(variants)) == ["teacher", "teacher-onnx", "half-ort-dynamic"]
    assert list(tables.short(variants, "half-ort-static", None)) == [*tables.short(variants), "half-ort-static"]


def test_conversions_are_those_with_a_parent(variants: Variants) -> None:
    table = cells(tables.conversions(variants))
    assert list(table)[1:] == [name for name in variants if "-torch-" in name or "-onnx" in name or "-ort-" in name]
    assert table["half-ort-dynamic"] == ["half-onnx", "1.2", "< 1e-06", "99.50 %", "3 Attention, 3 BiasGelu"]
    assert table["half-torch-dynamic"] == ["half", "1.2", "< 1e-06", "99.50 %", ""]


def test_batches_have_the_share_of_answers_that_int8_changes(variants: Variants) -> None:
    table = cells(tables.batches(variants))
    assert {name: share for name, (share,) in table.items() if name != "variant"} == {
        "half-torch-dynamic": "0.61 %",
        "half-ort-dynamic": "0.74 %",
        "half-ort-static": "0.00 %",
    }


def test_a_pruned_model_stands_beside_the_student_it_came_from(variants: Variants) -> None:
    other = {"encoder_sparsity": 0.3, "compressed_mb": 9.0, "compressed_mb_before": 20.0, "p50_ms": 1.0}
    variants["small"] = variants["half"] | {"p50_ms": 2.0, "size_mb": 21.0}
    variants["small-movement"] = variants["half-movement"] | other
    table = cells(tables.pruning(variants))
    assert list(table)[1:] == ["half", "half-movement", "half-structured", "small", "small-movement"]
    assert table["half"] == ["0.00 %", "60.0", "55.0", "91.00 %", "1.00 ×", "1.00 ×"]
    assert table["half-structured"] == ["50.00 %", "50.0", "45.0", "89.00 %", "2.00 ×", "2.00 ×"]
    assert table["half-movement"][-1] == ""  # it is not exported
    assert table["small-movement"] == ["30.00 %", "60.0", "9.0", "88.00 %", "2.00 ×", ""]
    assert tables.compressed_sizes(variants)["small"] == 20.0


def test_each_control_stands_beside_the_student_it_is_compared_with(variants: Variants) -> None:
    gains = {"against": "small", "accuracy_with_rule": 0.87, "gain": -0.03, "gain_interval": [-0.04, -0.02]}
    variants["labels_small"] = variants["labels"] | {"distilled": gains}
    assert list(tables.controls(variants)) == ["labels", "labels_small"]
    table = cells(tables.distillation(variants))
    assert table["labels"] == ["90.00 %", "half", "91.00 %", "+1.00 [+0.40, +1.60]"]
    assert table["labels_small"] == ["90.00 %", "small", "87.00 %", "-3.00 [-4.00, -2.00]"]


def test_sensitive_nodes_have_their_costs() -> None:
    costs = {"changed": 0.003, "mean_difference": 0.02034, "max_difference": 0.751, "spares": -0.001}
    assert cells(tables.sensitive_nodes(pd.DataFrame([costs], index=["layer.0"])))["`layer.0`"] == [
        *("0.30 %", "0.0203", "0.75", "0 %")
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"test_in_train": 0}, "none"),
        (
            {"test_in_train": 2, "duplicates_in_test": 0, "conflicting_intents": 4},
            "test in train: 2; conflicting intents: 4",
        ),
    ],
)
def test_overlaps_are_told_of_where_there_are_some(found: dict[str, int], expected: str) -> None:
    assert tables.overlaps({"overlaps": found}) == expected


def test_data_has_the_splits_that_there_are() -> None:
    split = {"in_scope": 15000, "out_of_scope": 250, "tokens": {"p50": 11, "p99": 21}}
    table = cells(tables.data({"train": split, "test": split, "overlaps": {}}))
    assert table == {
        "split": ["in scope", "out of scope", "tokens p50", "tokens p99"],
        "train": ["15,000", "250", "11", "21"],
        "test": ["15,000", "250", "11", "21"],
    }


def test_recalls_that_cannot_be_known_are_left_out(variants: Variants) -> None:
    assert "out of scope recalled, rule" in cells(tables.scope(variants))["variant"]
    assert tables.quantile(variants) is None
    unknown = {
        name: row | {"oos_recall": None, "oos_recall_with_rule": None, "quantile": 0.02}
        for name, row in variants.items()
    }
    assert cells(tables.scope(unknown))["variant"] == ["in scope, arg-max", "in scope, rule", "threshold"]
    assert tables.quantile(unknown) == 0.02
