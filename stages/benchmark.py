"""benchmark: every variant's latency, measured side by side. The clock, and nothing that could be had without it.

In:  reports/manifest.json and the models that it names, data/clinc/.
Out: reports/latency.json (the machine, and per variant the latency) and reports/timings.csv (every timed call):
     wall-clock figures, which DVC never restores from a cache as if they had been measured.

Two measures, one query at a time, tokenizer included: the calls of one reference query (time_avg_ms ± time_std_ms),
and a few hundred real queries (p50, p95, p99), all variants taking turns query by query.
"""

import csv
import logging
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from intents.serving.classifier import Classifier, OnnxModel
from intents.serving.rule import Rule
from intents.timing import latency, machine, product

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    reference_query: str
    calls: int = at_least(1)  # timed calls of the reference query
    warmup: int = at_least(0)  # calls before the first that counts
    queries: int = at_least(1)  # real queries, drawn from the test split
    threads: int = at_least(1)  # cores that one answer may use
    seed: int = seed_number()  # of the queries drawn, of the turns and of the bootstrap
    bootstrap_samples: int = between(100, 1_000_000)


def answerer(variant: Variant, intents: list[str], threads: int) -> Callable[[str], str]:
    """What answers a query with the name of the likeliest intent, as a user would call the variant."""
    files.require(variant.weights, variant.made_by)
    if variant.deployable:
        # The code path of intents.serving. The threshold's value takes no time, so any will do.
        classifier = Classifier(OnnxModel(variant.folder, threads), Rule(intents, threshold=-np.inf, rate=0.5))

        def answer(query: str) -> str:
            found = classifier(query)
            return intents[-1] if found.out_of_scope else found.intent

        return answer
    model = (
        encoder.load_classifier(variant.folder)
        if variant.form is Form.TORCH
        else kernels.load(variant.folder, variant.made_by)
    )
    tokenizer = checkpoints.load_tokenizer(variant.folder)
    # A Hugging Face pipeline, as the reference text times it: arg-max alone, no rule. Cut, as serving cuts: beyond the
    # model's positions it would fail, and below them read tokens that the other variants do not.
    pipe: Pipeline = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda query: pipe(query, truncation=True)[0]["label"]  # type: ignore[index]


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
    manifest = reading.rows(reading.load(paths.MANIFEST, "dvc repro evaluate"))
    rows = [variants.parse(name) for name in manifest]
    answerers = {variant.name: answerer(variant, intents, benchmark.threads) for variant in rows}
    drawn = random.Random(seed).sample(range(len(texts)), min(benchmark.queries, len(texts)))
    queries = [texts[row] for row in drawn]

    reference = latency.interleaved(answerers, [benchmark.reference_query] * benchmark.calls, benchmark.warmup, seed)
    real = latency.interleaved(answerers, queries, benchmark.warmup, seed)

    timed: dict[str, dict[str, Any]] = {}
    for name, answer in answerers.items():
        expected = [intents[label] for label in logits.load(name)["test"][drawn].argmax(axis=1)]
        served = np.mean([answer(query) == label for query, label in zip(queries, expected, strict=True)])
        speedup, interval = statistics.ratio_of_medians(real[TEACHER], real[name], benchmark.bootstrap_samples, seed)
        timed[name] = latency.summary(reference[name], real[name]) | {
            "speedup_vs_teacher": speedup,
            "speedup_interval": list(interval),
            "served_agreement": float(served),
        }
    described = machine.describe(benchmark.threads)
    if not described["int8_dot_product"]:
        log.warning("this CPU multiplies no int8 vectors (VNNI on x86): int8 gains less here than on one that does")
    report = {"machine": described, "multiply": multiply(benchmark), "variants": timed}
    files.write_json(paths.LATENCY, files.rounded(report), sort_keys=False)  # variants in the order of the table
    write_timings(paths.TIMINGS, {"reference": reference, "real": real}, drawn)


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
