"""benchmark: every variant's latency, measured side by side, next to its accuracy and size.

In:  the models' folders, their logits and figures, data/clinc/.
Out: reports/benchmark.json (the machine, and per variant accuracy, size and latency), reports/summary.json (the few of
     these that a reader compares, `dvc metrics diff --targets` shows them), reports/timings.csv (every timed
     call) and reports/correct.csv (which test queries each variant answered rightly, with the rule: what a review
     needs to tell a difference from noise). All but the last hold wall-clock figures, which DVC never restores from a
     cache as if they had been measured.

Two measures, one query at a time, tokenizer included: the calls of one reference query (time_avg_ms ±
time_std_ms), and a few hundred real queries (p50, p95, p99), all variants taking turns query by query.
"""

import csv
import logging
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file
from transformers import Pipeline, PreTrainedModel, pipeline

from stages.library import (
    artifacts,
    checkpoints,
    int8,
    latency,
    logits,
    machine,
    multiplication,
    out_of_scope,
    quality,
    settings,
    shrinking,
    splits,
    statistics,
    tensors,
)
from stages.library.classifier import OnnxClassifier
from stages.library.errors import run_program
from stages.library.settings import at_least

CLINC = Path("data/clinc")
BENCHMARK = Path("reports/benchmark.json")
SUMMARY = Path("reports/summary.json")
TIMINGS = Path("reports/timings.csv")
CORRECT = Path("reports/correct.csv")
BASELINE = "teacher"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    reference_query: str
    calls: int = at_least(1)  # timed calls of the reference query
    warmup: int = at_least(0)  # calls before the first that counts
    queries: int = at_least(1)  # real queries, drawn from the test split
    threads: int = at_least(1)  # cores that one answer may use
    seed: int = at_least(0)  # of the queries drawn, of the turns and of the bootstrap
    bootstrap_samples: int = at_least(100)
    max_accuracy_drop: float = settings.between(0, 1)  # against the teacher, that a deployable variant may cost
    tie: float = settings.at_least(0)  # variants whose p50 is within this share of the fastest count as as fast


@dataclass(frozen=True, kw_only=True)
class Variants:
    """The rows of the table."""

    models: dict[str, str]  # name of a float32 model in data/: what it is; each is also exported to ONNX
    torch: dict[str, str]  # method of int8 in PyTorch: the model it is applied to
    aware: list[str]  # the model that the stage qat trains, or nothing
    controls: list[int]  # seeds of students trained without the teacher
    ort: list[str]  # methods of int8 in ONNX Runtime, each applied to every model


class Variant(NamedTuple):
    folder: Path
    answer: Callable[[str], str]  # the intent's name; "oos" when out of scope
    deployable: bool  # runs without torch and transformers


def torch_answerer(model: PreTrainedModel, folder: Path) -> Callable[[str], str]:
    """A Hugging Face pipeline, as the reference text times it: arg-max alone, no rule."""
    pipe: Pipeline = pipeline(
        "text-classification", model=model, tokenizer=checkpoints.load_tokenizer(folder), device="cpu"
    )
    return lambda query: pipe(query)[0]["label"]  # type: ignore[index]


def onnx_answerer(folder: Path, threads: int) -> Callable[[str], str]:
    """The code path of stages.predict."""
    classifier = OnnxClassifier(folder, threads)

    def answer(query: str) -> str:
        found = classifier(query)
        return splits.OUT_OF_SCOPE if found.out_of_scope else found.intent

    return answer


def load_variants(rows: Variants, threads: int) -> dict[str, Variant]:
    """Every variant of the table, in its order, ready to answer."""
    data = Path("data")
    variants = {}
    for name in (*rows.models, *(f"control-{seed}" for seed in rows.controls)):
        folder = artifacts.require(data / name, "dvc repro")
        variants[name] = Variant(folder, torch_answerer(shrinking.load_classifier(folder), folder), False)
    for method in rows.torch:
        folder = data / "quantized" / method
        model = int8.load(folder, f"dvc repro quantize@{method}")
        variants[f"student-torch-{method}"] = Variant(folder, torch_answerer(model, folder), False)
    for name in rows.models:
        folders = {f"{name}-onnx": data / "onnx" / name}
        folders |= {f"{name}-ort-{method}": data / "ort" / method / name for method in rows.ort}
        for variant, folder in folders.items():
            variants[variant] = Variant(folder, onnx_answerer(folder, threads), True)
    return variants


def expected_answer(variant: Variant, test_logits: np.ndarray, threshold: float, intents: list[str]) -> list[str]:
    """What a variant said of each test query when its accuracy was taken."""
    labels = out_of_scope.decide(test_logits, threshold) if variant.deployable else test_logits.argmax(axis=1)
    return [intents[label] for label in labels]


def correct(test_logits: np.ndarray, threshold: float, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Whether each test query was answered rightly, by arg-max and with the rule."""
    return {
        "accuracy": test_logits.argmax(axis=1) == labels,
        "accuracy_with_rule": out_of_scope.decide(test_logits, threshold) == labels,
    }


def best_deployable(table: Mapping[str, Mapping[str, Any]], max_drop: float, tie: float) -> str | None:
    """The fastest deployable variant within the accuracy budget, judged on validation; None if none is.

    Among those as fast as the fastest (within `tie`), the most accurate on validation, and of these the smallest:
    latency is noisy, and a choice by noise would not be the same twice.
    """

    def accuracy(name: str) -> float:
        return table[name]["validation"]["expected_accuracy_with_rule"]

    within = [name for name in table if table[name]["deployable"] and accuracy(name) >= accuracy(BASELINE) - max_drop]
    if not within:
        return None
    fastest = min(table[name]["p50_ms"] for name in within)
    as_fast = sorted(name for name in within if table[name]["p50_ms"] <= fastest * (1 + tie))
    return max(as_fast, key=lambda name: (accuracy(name), -table[name]["size_mb"]))


def pareto_front(table: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The variants that no other beats: none is at least as accurate, as small and as fast, and better in one of them.

    Accuracy is that on validation with the rule, since the front is there to choose from.
    """

    def costs(name: str) -> np.ndarray:
        row = table[name]
        return np.array([-row["validation"]["expected_accuracy_with_rule"], row["size_mb"], row["p50_ms"]])

    def beaten(name: str) -> bool:
        ours = costs(name)
        return any((costs(other) <= ours).all() and (costs(other) < ours).any() for other in table)

    return {name for name in table if not beaten(name)}


def main() -> None:
    benchmark = settings.load(Benchmark, "benchmark")
    seed = benchmark.seed
    warnings.filterwarnings("ignore")  # the pipeline advises batches; one query at a time is what is measured
    torch.set_num_threads(benchmark.threads)

    intents = splits.load_intents(CLINC)
    rows = splits.load(CLINC, "test")
    labels = splits.labels(rows, intents)
    variants = load_variants(settings.load(Variants, "variants"), benchmark.threads)
    figures = {name: quality.read(name, "dvc repro") for name in variants}
    test_logits = {name: logits.load(name, "dvc repro")["test"] for name in variants}

    drawn = random.Random(seed).sample(range(len(rows)), min(benchmark.queries, len(rows)))
    queries = [rows[row].text for row in drawn]
    answerers = {name: variant.answer for name, variant in variants.items()}
    reference = latency.interleaved(answerers, [benchmark.reference_query] * benchmark.calls, benchmark.warmup, seed)
    real = latency.interleaved(answerers, queries, benchmark.warmup, seed)

    weights = load_file(variants["student"].folder / checkpoints.WEIGHTS)
    matrix = weights[f"{tensors.widest_layers(weights)[-1]}.weight"]
    multiply = multiplication.multiply_timings(matrix, benchmark.calls, seed, benchmark.bootstrap_samples)

    right = {name: correct(test_logits[name], figures[name]["threshold"], labels) for name in variants}
    table: dict[str, dict[str, Any]] = {}
    for name, variant in variants.items():
        expected = expected_answer(variant, test_logits[name], figures[name]["threshold"], intents.names)
        served = np.mean([variant.answer(query) == expected[row] for query, row in zip(queries, drawn, strict=True)])
        speedup, speedup_interval = statistics.ratio_of_medians(
            real[BASELINE], real[name], benchmark.bootstrap_samples, seed
        )
        table[name] = (
            figures[name]
            | latency.summary(reference[name], real[name])
            | {
                "deployable": variant.deployable,
                "folder": variant.folder.as_posix(),
                "speedup_vs_teacher": speedup,
                "speedup_interval": list(speedup_interval),
                "size_ratio_vs_teacher": figures[BASELINE]["size_mb"] / figures[name]["size_mb"],
                "served_agreement": float(served),
            }
        )
        for measure, ours in right[name].items():
            change, interval = statistics.paired_difference(
                ours, right[BASELINE][measure], benchmark.bootstrap_samples, seed
            )
            table[name][f"{measure}_change"] = change
            table[name][f"{measure}_change_interval"] = list(interval)

    front = pareto_front(table)
    for name in table:
        table[name]["pareto"] = name in front
    described = machine.describe(benchmark.threads)
    if not described["int8_dot_product"]:
        log.warning("this CPU multiplies no int8 vectors (VNNI on x86): int8 gains less here than on one that does")
    best = best_deployable(table, benchmark.max_accuracy_drop, benchmark.tie)
    budget = {"max_accuracy_drop": benchmark.max_accuracy_drop, "tie": benchmark.tie}
    report = {"machine": described, "best": best, "budget": budget, "multiply": multiply, "variants": table}
    artifacts.write_json(BENCHMARK, quality.rounded(report), sort_keys=False)  # variants in the order of the table
    summary = {
        name: {
            # What a variant is chosen by, and then what it is worth on queries that chose nothing.
            "validation_accuracy_with_rule": round(row["validation"]["expected_accuracy_with_rule"], 4),
            "accuracy_with_rule": round(row["accuracy_with_rule"], 4),
            "size_mb": round(row["size_mb"], 2),
            "p50_ms": round(row["p50_ms"], 2),
        }
        for name, row in table.items()
    }
    artifacts.write_json(SUMMARY, summary, sort_keys=False)
    write_timings(TIMINGS, {"reference": reference, "real": real}, drawn)
    table_of_correct = pd.DataFrame({name: right[name]["accuracy_with_rule"].astype(int) for name in variants})
    with artifacts.new_file(CORRECT) as scratch:
        table_of_correct.to_csv(scratch, index_label="test_row", lineterminator="\n")


def write_timings(path: Path, measured: Mapping[str, Mapping[str, np.ndarray]], drawn: list[int]) -> None:
    """Every timed call in one CSV: measure, variant, call, row of the test split (real queries), milliseconds."""
    with artifacts.new_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["measure", "variant", "call", "test_row", "ms"])
        for measure, times in measured.items():
            for variant, values in times.items():
                for call, value in enumerate(values):
                    row = drawn[call] if measure == "real" else ""
                    writer.writerow([measure, variant, call, row, f"{value:.4f}"])


if __name__ == "__main__":
    run_program(main)
