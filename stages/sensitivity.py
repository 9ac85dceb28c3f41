"""sensitivity: what it costs that a node of the fused graph is int8, node by node.

Call: python -m stages.sensitivity METHOD, with METHOD dynamic or static, a section of `ort_quantize`.
In:   data/onnx/MODEL/ (`sensitivity.model`), its logits, data/clinc/.
Out:  reports/sensitivity/METHOD.csv, a row per node, and METHOD.json, the verdict: which nodes
      `ort_quantize.METHOD.exclude` had better name. Its own exclusions do not count here. The report shows both.
"""

import argparse
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.library import artifacts, logits, onnx_graph, quality, sensitivity, settings, splits
from stages.library.classifier import MODEL, OnnxClassifier
from stages.library.errors import run_program
from stages.library.onnx_int8 import METHODS
from stages.library.onnx_int8.common import included
from stages.library.settings import at_least, between

CLINC = Path("data/clinc")
ONNX = Path("data/onnx")
REPORTS = Path("reports/sensitivity")


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    model: str  # a folder of data/onnx/
    queries: int = at_least(1)  # validation queries that are answered with each node in int8
    seed: int = at_least(0)  # of the queries drawn
    worth: float = between(0, 1)  # share of the whole logit difference that an excluded node must spare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    method = parser.parse_args().method
    chosen = settings.load(Sensitivity, "sensitivity")
    ort_quantize = settings.load(METHODS[method], f"ort_quantize.{method}")

    made_by = f"dvc repro onnx-export@{chosen.model}"
    source = artifacts.require(ONNX / chosen.model, made_by)
    expected = logits.load(f"{chosen.model}-onnx", made_by)["validation"]
    texts = [row.text for row in splits.load(CLINC, "validation")]
    drawn = np.sort(np.random.default_rng(chosen.seed).permutation(len(texts))[: chosen.queries])
    training = [row.text for row in splits.load(CLINC, "train")]

    with tempfile.TemporaryDirectory() as scratch:
        folder, graph = Path(scratch) / "int8", Path(scratch) / "fused.onnx"
        shutil.copytree(source, folder)
        onnx_graph.fuse(source / MODEL, graph)
        write = ort_quantize.quantizer(graph, training, OnnxClassifier(source).inputs)

        def quantized(nodes: Collection[str]) -> np.ndarray:
            """The logits (queries, labels) with these nodes in int8."""
            write(folder / MODEL, nodes)
            return logits.one_by_one(OnnxClassifier(folder).logits, [texts[row] for row in drawn])

        nodes = included(graph, [], "ort_quantize")
        table, whole = sensitivity.rank(nodes, expected[drawn], quantized)

    figures = sensitivity.summary(
        chosen.model, method, len(drawn), table, whole, chosen.worth, 1 - ort_quantize.min_agreement
    )
    with artifacts.new_file(REPORTS / f"{method}.csv") as part:
        table.round(6).to_csv(part, lineterminator="\n")
    artifacts.write_json(REPORTS / f"{method}.json", quality.rounded(figures))


if __name__ == "__main__":
    run_program(main)
