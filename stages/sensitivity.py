"""sensitivity: what it costs that a node of the fused graph is int8, node by node.

Call: python -m stages.sensitivity METHOD, with METHOD dynamic or static, a section of `ort_quantize`.
In:   models/MODEL-onnx/ (`sensitivity.model`), its logits, data/clinc/.
Out:  reports/sensitivity/METHOD.csv, a row per node, and METHOD.json, the verdict: which nodes
      `ort_quantize.METHOD.exclude` had better name. Its own exclusions do not count here. The report shows both.
"""

import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intents.core import files, paths, settings
from intents.core.errors import program
from intents.core.settings import at_least, between, seed_number
from intents.core.techniques import settings_of
from intents.core.variants import Form, Variant
from intents.data import logits
from intents.data.corpus import Corpus
from intents.onnx import sensitivity
from intents.onnx.common import included
from intents.onnx.graph import fuse
from intents.serving.classifier import MODEL, OnnxModel


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    model: str  # one of `variants.onnx_models`
    queries: int = at_least(1)  # validation queries that are answered with each node in int8
    seed: int = seed_number()  # of the queries drawn
    worth: float = between(0, 1)  # share of the whole logit difference that an excluded node must spare


def main(method: str) -> None:
    chosen = settings.load(Sensitivity, "sensitivity")
    ort_quantize = settings.load(settings_of("intents.onnx", method), f"ort_quantize.{method}")
    variant = Variant(chosen.model, Form.ONNX)

    data = Corpus()
    source = files.require(variant.folder, variant.made_by)
    expected = logits.load(variant.name)["validation"]
    texts = data.texts("validation")
    drawn = np.sort(np.random.default_rng(chosen.seed).permutation(len(texts))[: chosen.queries])

    with tempfile.TemporaryDirectory() as scratch:
        folder, graph = Path(scratch) / "int8", Path(scratch) / "fused.onnx"
        shutil.copytree(source, folder)
        fuse(source / MODEL, graph)
        write = ort_quantize.quantizer(graph, data.texts("train"), OnnxModel(source).inputs)

        def quantized(nodes: Collection[str]) -> np.ndarray:
            """The logits (queries, labels) with these nodes in int8."""
            write(folder / MODEL, nodes)
            return logits.one_by_one(OnnxModel(folder).logits, [texts[row] for row in drawn])

        nodes = included(graph, [], "ort_quantize")
        table, whole = sensitivity.rank(nodes, expected[drawn], quantized)

    figures = sensitivity.summary(
        chosen.model, method, len(drawn), table, whole, chosen.worth, 1 - ort_quantize.min_agreement
    )
    with files.new_file(paths.SENSITIVITY / f"{method}.csv") as part:
        table.round(6).to_csv(part, lineterminator="\n")
    files.write_json(paths.SENSITIVITY / f"{method}.json", files.rounded(figures))


if __name__ == "__main__":
    program(main, __doc__)
