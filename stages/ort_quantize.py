"""ort-quantize: an ONNX graph fused and brought to int8, the form that is deployed.

Call: python -m stages.ort_quantize MODEL METHOD, with METHOD dynamic or static.
In:   models/MODEL-onnx/, its logits, data/clinc/.
Out:  models/MODEL-ort-METHOD/ (model.onnx, tokenizer.json) and its logits. Its figures name the fused operators, and
      the share of answers that differ when queries come in padded batches.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from intents.core import files, settings, variants
from intents.core.errors import PipelineError, program
from intents.core.techniques import settings_of
from intents.core.variants import Form, Variant
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.models import folder
from intents.onnx.common import included
from intents.onnx.graph import fuse, operators
from intents.serving.classifier import MODEL, TOKENIZER, OnnxModel

BATCH = 32  # queries in a padded batch, whose answers are compared with those given one by one


def main(model: str, method: str) -> None:
    ort_quantize = settings.load(settings_of("intents.onnx", method), f"ort_quantize.{method}")
    parent = Variant(variants.model(model).name, Form.ONNX)

    data = Corpus()
    source = files.require(parent.folder, parent.made_by)
    expected = logits.load(parent.name)["validation"].argmax(axis=1)

    def make(target: Path) -> folder.Made:
        with tempfile.TemporaryDirectory() as scratch:
            graph = Path(scratch) / MODEL
            fused = fuse(source / MODEL, graph)
            if not fused:
                raise PipelineError(f"fusion made no fused operator in {source / MODEL}: its pattern is not recognized")
            nodes = included(graph, ort_quantize.exclude, f"ort_quantize.{method}.exclude")
            write = ort_quantize.quantizer(graph, data.texts("train"), OnnxModel(source).inputs)
            write(target / MODEL, nodes)
        shutil.copy(source / TOKENIZER, target)
        served = OnnxModel(target)
        answers = {split: logits.one_by_one(served.logits, data.texts(split)) for split in corpus.JUDGED}
        answered = answers["validation"].argmax(axis=1)
        agreement = float((answered == expected).mean())
        if not agreement >= ort_quantize.min_agreement:
            raise PipelineError(
                f"the int8 model agrees with {parent.name} on {agreement:.2%} of the validation queries; "
                f"`ort_quantize.{method}.min_agreement` asks for {ort_quantize.min_agreement:.2%}: it was not written"
            )
        queries = data.texts("validation")
        batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
        padded = np.concatenate([served.logits_padded(batch) for batch in batches]).argmax(axis=1)
        facts = {
            "fused_operators": fused,
            "operators": operators(target / MODEL),
            "flipped_in_padded_batches": float((answered != padded).mean()),
        }
        return folder.Made(answers, facts)

    folder.publish(Variant(model, Form.ORT, method).name, data, make)


if __name__ == "__main__":
    program(main, __doc__)
