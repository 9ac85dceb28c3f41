"""A model exported as an ONNX graph and compared with PyTorch's logits."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from transformers import BertForSequenceClassification, PreTrainedModel

from intents.core.errors import PipelineError
from intents.models.encoder import KEPT
from intents.models.pooled import PooledClassifier
from intents.onnx.graph import SCOPES
from intents.onnx.lean import lean


class LogitsOnly(nn.Module):
    """The model as a function of two tensors, which is what a graph has to be."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # The mask as it is added to the scores, 0 or the lowest number there is. Left to itself, transformers makes it
        # in a way that the fusion of attention does not know.
        added = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        return self.model(input_ids=input_ids, attention_mask=added).logits


def write(model: PreTrainedModel, path: Path, opset: int, first: int | None = None) -> None:
    """Write `model` as an ONNX file: as a lean graph where that can be written, else exported.

    Args:
        model: with eager attention.
        first: the token that every query begins with, if any; a lean graph may count on it.
    """
    if isinstance(model, BertForSequenceClassification) and not hasattr(model.config, KEPT):
        onnx.save(lean(model, first=first, opset=opset), path)
    else:
        export(model.folded() if isinstance(model, PooledClassifier) else model, path, opset)


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
            LogitsOnly(model).eval(),
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
    # another folder, and would show where it was made. Of its notes, only the module's name is kept.
    graph = exported.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        kept = [entry for entry in part.metadata_props if entry.key == SCOPES]
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
