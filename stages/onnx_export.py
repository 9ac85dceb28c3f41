"""onnx-export: a model as an ONNX graph that gives PyTorch's answers, or no graph at all.

Call: python -m stages.onnx_export MODEL, with MODEL one of `variants.models`, such as student.
In:   data/MODEL/, its logits, data/clinc/.
Out:  data/onnx/MODEL/ (model.onnx, tokenizer.json, classifier.json), its logits and figures.
"""

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from transformers import PreTrainedModel

from stages.library import (
    artifacts,
    logits,
    model_folder,
    onnx_graph,
    out_of_scope,
    quality,
    settings,
    shrinking,
    splits,
)
from stages.library.classifier import MODEL, OnnxClassifier
from stages.library.errors import PipelineError, run_program
from stages.library.settings import above, between

CLINC = Path("data/clinc")
ONNX = Path("data/onnx")
MADE_BY = {"teacher": "dvc repro finetune-teacher", "student": "dvc repro distill"}
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    opset: int = between(17, 23)
    tolerance: float = above(0)  # largest logit difference from PyTorch that is accepted


class _LogitsOnly(nn.Module):
    """The model as a function of two tensors, which is what a graph has to be."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # The mask as it is added to the scores, 0 or the lowest number there is. Left to itself, transformers makes it
        # in a way that the fusion of attention does not know.
        added = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        return self.model(input_ids=input_ids, attention_mask=added).logits


def export(model: PreTrainedModel, path: Path, opset: int) -> None:
    """Write `model` as an ONNX file with dynamic batch and sequence axes, and run onnx.checker over it.

    Inputs input_ids and attention_mask, int64 (batch, sequence); output logits, float32 (batch, labels).
    The model must use eager attention: fusion knows its pattern, not that of the fused kernels.
    """
    batch = torch.export.Dim("batch")
    sequence = torch.export.Dim("sequence", max=model.config.max_position_embeddings)
    # Two tensors: one tensor given twice would be exported as one input.
    ids, mask = torch.ones((2, 7), dtype=torch.int64), torch.ones((2, 7), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations; what matters is checked below
        torch.onnx.export(
            _LogitsOnly(model).eval(),
            (ids, mask),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={name: {0: batch, 1: sequence} for name in ("input_ids", "attention_mask")},
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    exported = onnx.load(path)
    # The exporter notes at each node from which line of which file it came: the same model would have other bytes in
    # another folder, and tell whoever gets it where it was made. Of its notes just the module's name is kept.
    graph = exported.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        kept = [entry for entry in part.metadata_props if entry.key == onnx_graph.SCOPES]
        part.ClearField("metadata_props")
        part.metadata_props.extend(kept)
        part.ClearField("doc_string")
    onnx.save(exported, path)
    onnx.checker.check_model(str(path), full_check=True)


def check_parity(expected: np.ndarray, found: np.ndarray, tolerance: float, shape: str) -> None:
    """Raise a PipelineError if any logit differs by more than `tolerance`."""
    difference = float(np.abs(expected - found).max())
    if not difference <= tolerance:  # also when it is not a number
        raise PipelineError(
            f"the graph's logits differ from PyTorch's by up to {difference:.3g} on validation queries ({shape}); "
            f"`onnx_export.tolerance` allows {tolerance:g}, so no graph was written"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder of data/")
    name = parser.parse_args().model
    made_by = MADE_BY.get(name, "dvc repro")
    onnx_export = settings.load(OnnxExport, "onnx_export")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("validation", "test")}
    source = artifacts.require(Path("data") / name, made_by)
    expected = logits.load(name, made_by)
    model = shrinking.load_classifier(source, attention="eager")

    with artifacts.new_folder(ONNX / name) as folder:
        export(model, folder / MODEL, onnx_export.opset)
        model_folder.copy_tokenizer(source, folder)
        out_of_scope.save_rule(folder, intents.names, 0.0, rule.rate)
        classifier = OnnxClassifier(folder)
        texts = {split: [row.text for row in rows[split]] for split in rows}
        padded = classifier.logits_padded(texts["validation"][::100][:BATCH])
        check_parity(expected["validation"][::100][:BATCH], padded, onnx_export.tolerance, "padded batch")
        answers = {split: logits.one_by_one(classifier.logits, texts[split]) for split in rows}
        check_parity(expected["validation"], answers["validation"], onnx_export.tolerance, "one by one")
        labels = {split: splits.labels(rows[split], intents) for split in rows}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
        figures |= {
            "size_mb": artifacts.size_mib(folder / MODEL),
            "parameters": model.num_parameters(),
            "operators": onnx_graph.operators(folder / MODEL),
            "parity": quality.parity(name, expected["validation"], answers["validation"]),
        }
    variant = f"{name}-onnx"
    logits.save(variant, answers)
    quality.write(variant, figures)


if __name__ == "__main__":
    run_program(main)
