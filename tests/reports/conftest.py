"""A small benchmark, made up: what the tables and pages are written from."""

from typing import Any

import pytest

from intents.core.variants import parse

# accuracy with the rule on test, MiB, median in ms, whether on the Pareto front
VARIANTS = {
    "teacher": (0.92, 80.0, 10.0, True),
    "half": (0.91, 60.0, 6.0, False),
    "labels": (0.90, 60.0, 6.0, False),
    "half-movement": (0.88, 60.0, 6.0, False),
    "half-structured": (0.89, 50.0, 3.0, False),
    "half-torch-dynamic": (0.91, 17.0, 2.5, False),
    "teacher-onnx": (0.92, 80.0, 4.0, True),
    "half-onnx": (0.91, 60.0, 2.4, False),
    "half-structured-onnx": (0.89, 50.0, 1.2, False),
    "half-ort-dynamic": (0.91, 16.0, 0.8, True),
    "half-ort-static": (0.905, 16.0, 1.0, False),
}
FACTS: dict[str, dict[str, Any]] = {
    "labels": {
        "distilled": {"against": "half", "accuracy_with_rule": 0.91, "gain": 0.01, "gain_interval": [0.004, 0.016]}
    },
    "half-movement": {"encoder_sparsity": 0.8, "compressed_mb": 40.0, "compressed_mb_before": 55.0},
    "half-structured": {"encoder_sparsity": 0.5, "compressed_mb": 45.0, "compressed_mb_before": 55.0},
    "half-torch-dynamic": {"flipped_in_padded_batches": 0.0061},
    "half-ort-dynamic": {"flipped_in_padded_batches": 0.0074, "fused_operators": {"Attention": 3, "BiasGelu": 3}},
    "half-ort-static": {"flipped_in_padded_batches": 0.0},
}


def row(name: str) -> dict[str, Any]:
    accuracy, size, p50, pareto = VARIANTS[name]
    change = accuracy - VARIANTS["teacher"][0]
    found: dict[str, Any] = {
        "accuracy": accuracy - 0.05,
        "accuracy_with_rule": accuracy,
        "accuracy_with_rule_change": change,
        "accuracy_with_rule_change_interval": [change - 0.005, change + 0.005],
        "in_scope_accuracy": 0.95,
        "oos_recall": 0.45,
        "in_scope_accuracy_with_rule": 0.93,
        "oos_recall_with_rule": 0.87,
        "validation": {"expected_accuracy_with_rule": accuracy + 0.01},
        "threshold": 9.5,
        "size_mb": size,
        "size_ratio_vs_teacher": 80 / size,
        "time_avg_ms": p50,
        "time_std_ms": 0.1,
        "p50_ms": p50,
        "p95_ms": 1.5 * p50,
        "p99_ms": 2 * p50,
        "speedup_vs_teacher": 10 / p50,
        "speedup_interval": [9.5 / p50, 10.5 / p50],
        "served_agreement": 1.0,
        "queries_per_second": 2000 / p50,
        "deployable": parse(name).deployable,
        "pareto": pareto,
        **FACTS.get(name, {}),
    }
    if parent := parse(name).parent:
        found["parity"] = {"parent": parent.name, "max_logit_difference": 1.234, "mean_logit_difference": 0.0}
        found["parity"]["agreement"] = 0.995
    if parse(name).deployable:
        found |= {"first_answer_ms": 250.4, "peak_memory_mb": 70 + size}
    return found


@pytest.fixture
def benchmark() -> dict[str, Any]:
    return {
        "machine": {
            "cpu": "a CPU",
            "cores": 2,
            "memory_gib": 8,
            "os": "an OS",
            "cpu_flags": ["avx2"],
            "int8_dot_product": True,
            "threads": 1,
            "python": "3.11",
            "libraries": {"torch": "2.0"},
        },
        "best": "half-ort-dynamic",
        "deployed": "half-ort-dynamic",
        "batch_size": 32,
        "budget": {"max_accuracy_drop": 0.01, "tie": 0.1},
        "variants": {name: row(name) for name in VARIANTS},
    }


@pytest.fixture
def variants(benchmark: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return benchmark["variants"]
