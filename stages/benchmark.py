"""benchmark: every variant's speed and memory, measured side by side. Nothing that can be computed without running it.

In:  reports/manifest.json and the models that it names, data/clinc/.
Out: reports/latency.json (the machine, and per variant the figures) and reports/timings.csv (every timed call):
     wall-clock figures, which DVC never restores from a cache as if they had been measured.

All variants take turns, tokenizer included. One query at a time: the calls of one reference query (time_avg_ms ±
time_std_ms), and a few hundred real queries (p50, p95, p99). Batches of real queries: queries_per_second. Deployable
variants are also started as a program, each time a new one: first_answer_ms, and peak_memory_mb in MiB.
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
import torch
from safetensors.numpy import load_file
from transformers import Pipeline, pipeline

from intents.core import files, paths, reading, settings, table, variants
from intents.core.errors import program
from intents.core.settings import at_least, between, seed_number
from intents.core.variants import TEACHER, Form, Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.evaluation import statistics
from intents.int8 import kernels
from intents.models import checkpoints, encoder
from intents.models.weights import widest_layers
from intents.peers import common as peers
from intents.serving.classifier import Classifier, OnnxModel
from intents.serving.rule import Rule, decide
from intents.timing import latency, machine, product, start

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    reference_query: str
    calls: int = at_least(1)  # timed calls of the reference query
    warmup: int = at_least(0)  # calls before the first that counts
    queries: int = at_least(1)  # real queries, drawn from the test split
    batch_size: int = at_least(1)  # queries that are answered together
    batches: int = at_least(1)  # timed batches of real queries
    starts: int = at_least(0)  # fresh processes of each deployable variant; 0: none, and no figures of them
    threads: int = at_least(1)  # cores that one answer may use
    seed: int = seed_number()  # of the queries drawn, of the turns and of the bootstrap
    bootstrap_samples: int = between(100, 1_000_000)


class Served(NamedTuple):
    """A variant as a user would call it."""

    one: Callable[[str], str]  # a query to the name of the likeliest intent
    batch: Callable[[list[str]], object]  # queries to their answers


def served(variant: Variant, rule: Rule, threads: int) -> Served:
    """A variant, loaded. In ONNX the code path of intents.serving, in PyTorch a Hugging Face pipeline."""
    files.require(variant.weights, variant.made_by)
    if variant.deployable:
        classifier = Classifier(OnnxModel(variant.folder, threads), rule)

        def answer(query: str) -> str:
            found = classifier(query)
            return rule.intents[-1] if found.out_of_scope else found.intent

        return Served(answer, classifier.batch)
    if variant.form is Form.PEER:
        scores = peers.load(str(variant.technique), variant.folder, threads)
        return Served(
            lambda query: rule.intents[int(decide(scores([query]), rule.threshold)[0])],
            lambda queries: decide(scores(queries), rule.threshold),
        )
    model = (
        encoder.load_classifier(variant.folder)
        if variant.form is Form.TORCH
        else kernels.load(variant.folder, variant.made_by)
    )
    tokenizer = checkpoints.load_tokenizer(variant.folder)
    # As the reference text times it: arg-max alone, no rule. Cut, as serving cuts: beyond the model's positions it
    # would fail, and below them read tokens that the other variants do not.
    pipe: Pipeline = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return Served(
        lambda query: pipe(query, truncation=True)[0]["label"],  # type: ignore[index]
        lambda queries: pipe(queries, batch_size=len(queries), truncation=True),
    )


def noted(answer: Callable[[str], str], answers: dict[str, str]) -> Callable[[str], str]:
    """The same answerer, which also notes its answers by query; that takes some ten nanoseconds."""

    def one(query: str) -> str:
        answers[query] = found = answer(query)
        return found

    return one


def multiply(benchmark: Benchmark) -> dict[str, Any]:
    """The product at the heart of a linear layer, timed on the main student's widest matrix, for the primer."""
    weights = load_file(Variant(table.load().student).weights)
    matrix = weights[f"{widest_layers(weights)[-1]}.weight"]
    return product.multiply_timings(matrix, benchmark.calls, benchmark.seed, benchmark.bootstrap_samples)


def main() -> None:
    benchmark = settings.load(Benchmark, "benchmark")
    seed = benchmark.seed
    warnings.filterwarnings("ignore")  # the pipeline advises batches; one query at a time is what is measured
    torch.set_num_threads(benchmark.threads)

    data = Corpus()
    intents, texts = data.intents.names, data.texts("test")
    rule = Rule(intents, threshold=-1e9, rate=0.5)  # the threshold's value takes no time, so any will do
    manifest = reading.rows(reading.load(paths.MANIFEST, "dvc repro evaluate"))
    rows = [variants.parse(name) for name in manifest]
    loaded = {variant.name: served(variant, rule, benchmark.threads) for variant in rows}
    draw = random.Random(seed)
    drawn = draw.sample(range(len(texts)), min(benchmark.queries, len(texts)))
    queries = [texts[row] for row in drawn]
    # With replacement, so that a small test split fills the batches too.
    batches = [draw.choices(texts, k=benchmark.batch_size) for _ in range(benchmark.batches)]

    answerers = {name: variant.one for name, variant in loaded.items()}
    reference = latency.interleaved(answerers, [benchmark.reference_query] * benchmark.calls, benchmark.warmup, seed)
    answered: dict[str, dict[str, str]] = {name: {} for name in answerers}
    noting = {name: noted(answer, answered[name]) for name, answer in answerers.items()}
    real = latency.interleaved(noting, queries, benchmark.warmup, seed)
    together = {name: variant.batch for name, variant in loaded.items()}
    batched = latency.interleaved(together, batches, min(benchmark.warmup, 1), seed, primed=False)
    folders = {variant.name: variant.folder for variant in rows if variant.deployable}
    firsts = start.interleaved(
        folders if benchmark.starts else {}, rule, benchmark.reference_query, benchmark.starts, benchmark.threads, seed
    )

    timed: dict[str, dict[str, Any]] = {}
    for name in answerers:
        expected = [intents[label] for label in logits.load(name)["test"][drawn].argmax(axis=1)]
        agreement = np.mean([answered[name][query] == label for query, label in zip(queries, expected, strict=True)])
        speedup, interval = statistics.ratio_of_medians(real[TEACHER], real[name], benchmark.bootstrap_samples, seed)
        timed[name] = latency.summary(reference[name], real[name]) | {
            "speedup_vs_teacher": speedup,
            "speedup_interval": list(interval),
            "served_agreement": float(agreement),
            "queries_per_second": latency.throughput(batched[name], benchmark.batch_size),
        }
        if name in firsts:
            timed[name] |= {
                "first_answer_ms": float(np.median([first.ms for first in firsts[name]])),
                "peak_memory_mb": float(np.median([first.peak_mib for first in firsts[name]])),
            }
    described = machine.describe(benchmark.threads)
    if not described["int8_dot_product"]:
        log.warning("this CPU multiplies no int8 vectors (VNNI on x86): int8 gains less here than on one that does")
    report = {
        "machine": described,
        "multiply": multiply(benchmark),
        "batch_size": benchmark.batch_size,
        "variants": timed,
    }
    files.write_json(paths.LATENCY, files.rounded(report), sort_keys=False)  # variants in the order of the table
    started = {name: np.array([first.ms for first in found]) for name, found in firsts.items()}
    write_timings(paths.TIMINGS, {"reference": reference, "real": real, "batch": batched, "first": started}, drawn)


def write_timings(path: Path, measured: Mapping[str, Mapping[str, np.ndarray]], drawn: list[int]) -> None:
    """Every timed call in one CSV: measure, variant, call, row of the test split (real queries), milliseconds."""
    with files.new_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["measure", "variant", "call", "test_row", "ms"])
        for measure, times in measured.items():
            for variant, values in times.items():
                for call, value in enumerate(values):
                    row = drawn[call] if measure == "real" else ""
                    writer.writerow([measure, variant, call, row, f"{value:.4f}"])


if __name__ == "__main__":
    program(main, __doc__)
