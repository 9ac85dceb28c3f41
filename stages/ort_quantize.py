"""ort-quantize: an ONNX graph fused and brought to int8, the form that is deployed.

Call: python -m stages.ort_quantize MODEL METHOD, with MODEL a folder of data/onnx/ and METHOD dynamic or static.
In:   data/onnx/MODEL/, its logits, data/clinc/.
Out:  data/ort/METHOD/MODEL/ (model.onnx, tokenizer.json, classifier.json), its logits and figures, among them the
      fused operators, the parity with the graph it came from, and that of its answers in batches with those one by one.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from stages.library import artifacts, logits, onnx_graph, out_of_scope, quality, settings, splits
from stages.library.classifier import MODEL, TOKENIZER, OnnxClassifier
from stages.library.errors import PipelineError, run_program
from stages.library.onnx_int8 import METHODS
from stages.library.onnx_int8.common import included

CLINC = Path("data/clinc")
ONNX = Path("data/onnx")
ORT = Path("data/ort")
BATCH = 32  # queries in a padded batch, which answers are compared with those one by one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder of data/onnx/")
    parser.add_argument("method", choices=METHODS)
    arguments = parser.parse_args()
    name, method = arguments.model, arguments.method
    variant, parent, made_by = f"{name}-ort-{method}", f"{name}-onnx", f"dvc repro onnx-export@{name}"
    ort_quantize = settings.load(METHODS[method], f"ort_quantize.{method}")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("validation", "test")}
    source = artifacts.require(ONNX / name, made_by)
    expected = logits.load(parent, made_by)["validation"]

    with artifacts.new_folder(ORT / method / name) as folder, tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / MODEL
        fused = onnx_graph.fuse(source / MODEL, graph)
        if not fused:
            raise PipelineError(f"fusion made no fused operator in {source / MODEL}: its pattern is not recognized")
        nodes = included(graph, ort_quantize.exclude, f"ort_quantize.{method}.exclude")
        training = [row.text for row in splits.load(CLINC, "train")]
        write = ort_quantize.quantizer(graph, training, OnnxClassifier(source).inputs)
        write(folder / MODEL, nodes)
        shutil.copy(source / TOKENIZER, folder)
        out_of_scope.save_rule(folder, intents.names, 0.0, rule.rate)
        classifier = OnnxClassifier(folder)
        texts = {split: [row.text for row in rows[split]] for split in rows}
        answers = {split: logits.one_by_one(classifier.logits, texts[split]) for split in rows}
        parity = quality.parity(parent, expected, answers["validation"])
        if not parity["agreement"] >= ort_quantize.min_agreement:
            raise PipelineError(
                f"the int8 model agrees with {parent} on {parity['agreement']:.2%} of the validation queries; "
                f"`ort_quantize.{method}.min_agreement` asks for {ort_quantize.min_agreement:.2%}: it was not written"
            )
        validation = texts["validation"]
        batches = [validation[start : start + BATCH] for start in range(0, len(validation), BATCH)]
        padded = np.concatenate([classifier.logits_padded(batch) for batch in batches])
        labels = {split: splits.labels(rows[split], intents) for split in rows}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
        figures |= {
            "size_mb": artifacts.size_mib(folder / MODEL),
            "parameters": quality.read(parent, made_by)["parameters"],
            "fused_operators": fused,
            "operators": onnx_graph.operators(folder / MODEL),
            "parity": parity,
            "parity_in_padded_batches": quality.parity(variant, answers["validation"], padded),
        }
    logits.save(variant, answers)
    quality.write(variant, figures)


if __name__ == "__main__":
    run_program(main)
