"""onnx-export: a model as an ONNX graph that gives PyTorch's answers, or no graph at all.

Call: python -m stages.onnx_export MODEL, with MODEL one of `variants.onnx_models`, such as half.
In:   models/MODEL/, its logits, data/clinc/.
Out:  models/MODEL-onnx/ (model.onnx, tokenizer.json) and its logits.
"""

from dataclasses import dataclass
from pathlib import Path

from intents.core import files, settings, variants
from intents.core.errors import program
from intents.core.settings import between
from intents.core.variants import Form, Variant
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, encoder, folder
from intents.onnx.export import check_parity, write
from intents.onnx.graph import operators
from intents.serving.classifier import MODEL, OnnxModel

BATCH = 32  # validation queries that are also answered in a padded batch


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    opset: int = between(17, 23)
    tolerance: float = between(0, 1, open_low=True)  # largest logit difference from PyTorch that is accepted


def main(model: str) -> None:
    onnx_export = settings.load(OnnxExport, "onnx_export")
    parent = variants.model(model)

    data = Corpus()
    source = files.require(parent.folder, parent.made_by)
    expected = logits.load(parent.name)["validation"]

    def make(target: Path) -> folder.Made:
        # Eager attention: fusion knows its pattern, not that of the fused kernels.
        model, tokenizer = encoder.load_classifier(source, attention="eager"), checkpoints.load_tokenizer(source)
        write(model, target / MODEL, onnx_export.opset, tokenizer.cls_token_id)
        folder.save_tokenizer(target, tokenizer)
        served = OnnxModel(target)
        sampled = slice(0, 100 * BATCH, 100)
        padded = served.logits_padded(data.texts("validation")[sampled])
        check_parity(expected[sampled], padded, onnx_export.tolerance, "padded batch")
        answers = {split: logits.one_by_one(served.logits, data.texts(split)) for split in corpus.JUDGED}
        check_parity(expected, answers["validation"], onnx_export.tolerance, "one by one")
        return folder.Made(answers, {"operators": operators(target / MODEL)})

    folder.publish(Variant(model, Form.ONNX).name, data, make)


if __name__ == "__main__":
    program(main, __doc__)
