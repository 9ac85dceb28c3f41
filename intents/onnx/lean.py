"""A BERT classifier as a graph written from its weights: what one query on one core needs, and no more.

An exported graph (intents/onnx/export.py) computes what a model's Python code computes. This one leaves out what is not
looked at or always the same:
- token types: their one vector is added to the positions;
- the mask, unless it is asked for: a query alone has no padding;
- in the last layer, all tokens but the first, which is the only one that the classifier reads: its keys and values come
  from all tokens, the rest is computed for one.
The three projections of attention are one product, and normalizations are written so that they stay the fast ones.
Nodes with weights are named as `intents.onnx.graph.fuse` names them, so that the same settings choose among them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from transformers import BertForSequenceClassification

from intents.core.errors import PipelineError
from intents.onnx.graph import LEAN

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's fused operators
ACTIVATIONS = ("gelu",)
OUTPUT = "logits"


class _Writer:
    """Nodes and constants in the order in which they are added; each node's one output is named after it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: torch.Tensor | np.ndarray | Sequence[int]) -> str:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, name: str, inputs: Sequence[str], fused: bool = False, **attributes: Any) -> str:
        output = f"{name}:{kind}"
        domain = MICROSOFT if fused else ""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name, domain=domain, **attributes))
        return output

    def product(self, name: str, states: str, weight: torch.Tensor) -> str:
        """states · weight: (..., in) by (in, out); a torch layer keeps its weight the other way round."""
        return self.node("MatMul", name, [states, self.constant(f"{name}.weight", weight)])

    def linear(self, name: str, states: str, layer: nn.Linear) -> str:
        return self.node(
            "Add",
            f"{name}.sum",
            [self.product(name, states, layer.weight.T), self.constant(f"{name}.bias", layer.bias)],
        )

    def added_and_normalized(self, name: str, states: str, skip: str, norm: nn.LayerNorm) -> str:
        """LayerNorm(states + skip).

        A Sum, since a session makes SkipLayerNormalization of an Add: in ONNX Runtime 1.32 that takes four times as
        long on a CPU (15 us, against 3.6 us, for 11 tokens of 256 numbers).
        """
        summed = self.node("Sum", f"{name}.sum", [states, skip])
        constants = [self.constant(f"{name}.weight", norm.weight), self.constant(f"{name}.bias", norm.bias)]
        return self.node("LayerNormalization", name, [summed, *constants], epsilon=norm.eps)


def lean(model: BertForSequenceClassification, *, masked: bool = False, opset: int = 20) -> onnx.ModelProto:
    """The graph of a BERT classifier in float32, checked.

    Input input_ids, int32 (batch, sequence), all of them tokens; output logits, float32 (batch, labels).

    Args:
        masked: take attention_mask too, int32 (batch, sequence), for batches of queries of different lengths.

    Raises:
        PipelineError: the model is not built like BERT's classifier.
    """
    if not isinstance(model, BertForSequenceClassification) or model.config.hidden_act not in ACTIVATIONS:
        raise PipelineError(
            f"a lean graph of {type(model).__name__} with {getattr(model.config, 'hidden_act', 'no')} activation "
            f"cannot be written; allowed: BertForSequenceClassification with {' or '.join(ACTIVATIONS)}"
        )
    bert: Any = model.bert
    write = _Writer()
    mask = "attention_mask" if masked else ""
    states = _embedded(write, bert.embeddings)
    last = len(bert.encoder.layer) - 1
    for place, layer in enumerate(bert.encoder.layer):
        states = _layer(write, f"encoder.layer.{place}", layer, states, mask, first_alone=place == last)
    pooled = write.node("Tanh", "pooler.tanh", [write.linear("pooler.dense", states, bert.pooler.dense)])
    flat = write.node("Squeeze", "pooler.flat", [pooled, write.constant("token_axis", [1])])
    write.linear("classifier", flat, model.classifier)
    write.nodes[-1].output[0] = OUTPUT

    ids = ["input_ids", *([mask] if mask else [])]
    graph = helper.make_graph(
        write.nodes,
        LEAN,
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "sequence"]) for name in ids],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", model.config.num_labels])],
        write.constants,
        value_info=[  # quantizers ask for types, and shape inference does not know the fused operators
            helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
            for node in write.nodes
            for output in node.output
            if node.op_type != "Shape" and output != OUTPUT
        ],
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    made = helper.make_model(graph, opset_imports=versions, ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


def _embedded(write: _Writer, embeddings: Any) -> str:
    """Word vectors plus those of their positions, normalized: (batch, sequence, hidden)."""
    table = write.constant("embeddings.word_embeddings.weight", embeddings.word_embeddings.weight)
    words = write.node("Gather", "embeddings.word_embeddings", [table, "input_ids"])
    # Positions 0, 1, 2, ... as many as there are tokens; with the vector of the one token type there is.
    positions = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
    table = write.constant("embeddings.position_embeddings.weight", positions.unsqueeze(0))
    tokens = write.node("Shape", "tokens", ["input_ids"], start=1, end=2)
    ends = [write.constant(name, [value]) for name, value in (("first", 0), ("sequence_axis", 1))]
    places = write.node("Slice", "embeddings.positions", [table, ends[0], tokens, ends[1]])
    return write.added_and_normalized("embeddings.LayerNorm", words, places, embeddings.LayerNorm)


def _layer(write: _Writer, name: str, layer: Any, states: str, mask: str, first_alone: bool) -> str:
    """One encoder layer: (batch, sequence, hidden) to the same, or to (batch, 1, hidden) if `first_alone`."""
    part = layer.attention.self
    rows = write.node("Slice", f"{name}.first", [states, *_first(write, name)]) if first_alone else states
    attend = _first_attention if first_alone else _attention
    attended = attend(write, f"{name}.attention.self", part, states, rows, mask)
    output = layer.attention.output
    product = write.linear(f"{name}.attention.output.dense", attended, output.dense)
    rows = write.added_and_normalized(f"{name}.attention.output.LayerNorm", product, rows, output.LayerNorm)
    dense = layer.intermediate.dense
    expanded = write.product(f"{name}.intermediate.dense", rows, dense.weight.T)
    bias = write.constant(f"{name}.intermediate.dense.bias", dense.bias)
    active = write.node("BiasGelu", f"{name}.intermediate.gelu", [expanded, bias], fused=True)
    product = write.linear(f"{name}.output.dense", active, layer.output.dense)
    return write.added_and_normalized(f"{name}.output.LayerNorm", product, rows, layer.output.LayerNorm)


def _first(write: _Writer, name: str) -> list[str]:
    return [write.constant(f"{name}.first.{part}", [value]) for part, value in (("from", 0), ("to", 1), ("axis", 1))]


def _attention(write: _Writer, name: str, part: Any, states: str, _: str, mask: str) -> str:
    """Self-attention of all tokens, query, key and value in one product: (batch, sequence, heads · size)."""
    linear = (part.query, part.key, part.value)
    weight = write.constant(f"{name}.weight", torch.cat([one.weight for one in linear]).T)
    bias = write.constant(f"{name}.bias", torch.cat([one.bias for one in linear]))
    return write.node(
        "Attention", name, [states, weight, bias, *([mask] if mask else [])], fused=True, num_heads=_heads(part)
    )


def _first_attention(write: _Writer, name: str, part: Any, states: str, first: str, mask: str) -> str:
    """What the first token sees of all: (batch, 1, heads · size). Keys and values come of one product."""
    query = write.product(f"{name}.query", first, part.query.weight.T)
    both = write.product(f"{name}.key_value", states, torch.cat([part.key.weight, part.value.weight]).T)
    width = part.key.out_features
    split = helper.make_node(
        "Split",
        [both, write.constant(f"{name}.widths", [width, width])],
        [f"{name}.keys", f"{name}.values"],
        f"{name}.split",
        axis=2,
    )
    write.nodes.append(split)
    bias = write.constant(f"{name}.bias", torch.cat([part.query.bias, part.key.bias, part.value.bias]))
    inputs = [query, *split.output, bias, *([mask] if mask else [])]
    return write.node("MultiHeadAttention", f"{name}.attend", inputs, fused=True, num_heads=_heads(part))


def _heads(part: Any) -> int:
    return int(part.num_attention_heads)
