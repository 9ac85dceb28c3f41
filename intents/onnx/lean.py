"""A BERT classifier as a graph written from its weights: what one query on one core needs, and no more.

An exported graph (intents/onnx/export.py) computes what a model's Python code computes. This one leaves out what is not
looked at or always the same:
- token types: their one vector is added to the positions;
- the mask, unless it is asked for: a query alone has no padding;
- in the last layer, all tokens but the first, which is the only one that the classifier reads. The others have no keys:
  their vectors are compared with the query times the weights of the keys;
- of a model with one layer, that product too: the first token is always the same, so its query is a constant.
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

    def linear(self, name: str, states: str, layer: nn.Linear, more: torch.Tensor | float = 0.0) -> str:
        """states · weight + bias, and `more`, (out), which is known beforehand."""
        bias = self.constant(f"{name}.bias", layer.bias + more)
        return self.node("Add", f"{name}.sum", [self.product(name, states, layer.weight.T), bias])

    def added_and_normalized(self, name: str, states: str, skip: str, norm: nn.LayerNorm) -> str:
        """LayerNorm(states + skip), or LayerNorm(states) where there is no skip.

        A Sum, since a session makes SkipLayerNormalization of an Add: in ONNX Runtime 1.32 that takes four times as
        long on a CPU (15 us, against 3.6 us, for 11 tokens of 256 numbers).
        """
        summed = self.node("Sum", f"{name}.sum", [states, skip]) if skip else states
        constants = [self.constant(f"{name}.weight", norm.weight), self.constant(f"{name}.bias", norm.bias)]
        return self.node("LayerNormalization", name, [summed, *constants], epsilon=norm.eps)


def lean(
    model: BertForSequenceClassification, *, first: int | None = None, masked: bool = False, opset: int = 20
) -> onnx.ModelProto:
    """The graph of a BERT classifier in float32, checked.

    Input input_ids, int32 (batch, sequence), all of them tokens; output logits, float32 (batch, labels).

    Args:
        first: the token that every query begins with, [CLS]; of a model with one layer, the graph then answers no
            other queries. None: any may be the first.
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
    *layers, last = bert.encoder.layer
    for place, layer in enumerate(layers):
        name = f"encoder.layer.{place}"
        attended = _attention(write, f"{name}.attention.self", layer.attention.self, states, mask)
        output = layer.attention.output
        product = write.linear(f"{name}.attention.output.dense", attended, output.dense)
        rows = write.added_and_normalized(f"{name}.attention.output.LayerNorm", product, states, output.LayerNorm)
        states = _fed_forward(write, name, layer, rows)
    known = _first_states(bert.embeddings, first) if first is not None and not layers else None
    states = _last_layer(write, f"encoder.layer.{len(layers)}", last, states, mask, known)
    pooled = write.node("Tanh", "pooler.tanh", [write.linear("pooler.dense", states, bert.pooler.dense)])
    if known is None:
        pooled = write.node("Squeeze", "pooler.flat", [pooled, write.constant("token_axis", [1])])
    write.linear("classifier", pooled, model.classifier)
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


def _first_states(embeddings: Any, token: int) -> torch.Tensor:
    """What the embeddings make of a token in the first place, (hidden)."""
    tables = (embeddings.position_embeddings, embeddings.token_type_embeddings)
    summed = embeddings.word_embeddings.weight[token] + sum(table.weight[0] for table in tables)
    return embeddings.LayerNorm(summed)  # type: ignore[no-any-return]


def _fed_forward(write: _Writer, name: str, layer: Any, rows: str) -> str:
    """The half of an encoder layer that comes after attention: (batch, tokens, hidden) to the same."""
    dense = layer.intermediate.dense
    expanded = write.product(f"{name}.intermediate.dense", rows, dense.weight.T)
    bias = write.constant(f"{name}.intermediate.dense.bias", dense.bias)
    active = write.node("BiasGelu", f"{name}.intermediate.gelu", [expanded, bias], fused=True)
    product = write.linear(f"{name}.output.dense", active, layer.output.dense)
    return write.added_and_normalized(f"{name}.output.LayerNorm", product, rows, layer.output.LayerNorm)


def _attention(write: _Writer, name: str, part: Any, states: str, mask: str) -> str:
    """Self-attention of all tokens, query, key and value in one product: (batch, sequence, hidden)."""
    linear = (part.query, part.key, part.value)
    weight = write.constant(f"{name}.weight", torch.cat([one.weight for one in linear]).T)
    bias = write.constant(f"{name}.bias", torch.cat([one.bias for one in linear]))
    return write.node(
        "Attention",
        name,
        [states, weight, bias, *([mask] if mask else [])],
        fused=True,
        num_heads=int(part.num_attention_heads),
    )


def _last_layer(write: _Writer, name: str, layer: Any, states: str, mask: str, known: torch.Tensor | None) -> str:
    """An encoder layer for the first token alone: (batch, sequence, hidden) to (batch, 1, hidden).

    Args:
        known: the first token's vector, (hidden), if it is the same in all queries; what comes out is (batch, hidden).
    """
    part, output = layer.attention.self, layer.attention.output
    attention, product = f"{name}.attention.self", f"{name}.attention.output.dense"
    # A token's weights of attention add up to 1, so each head's value bias comes out as it is.
    more = output.dense.weight @ part.value.bias
    if known is None:
        ends = [write.constant(f"{name}.first.{part}", [end]) for part, end in (("from", 0), ("to", 1), ("axis", 1))]
        rows = write.node("Slice", f"{name}.first", [states, *ends])
        attended = _first_attention(write, attention, part, states, rows, mask)
    else:
        rows, more = "", more + known
        attended = _known_attention(write, attention, part, states, known, mask)
    summed = write.linear(product, attended, output.dense, more)
    rows = write.added_and_normalized(f"{name}.attention.output.LayerNorm", summed, rows, output.LayerNorm)
    return _fed_forward(write, name, layer, rows)


def _first_attention(write: _Writer, name: str, part: Any, states: str, first: str, mask: str) -> str:
    """What the first token sees of all, without the bias of the values: (batch, 1, hidden).

    No token gets a key or a value of its own. A head's scores are q · (K x) = (q K) · x, and its mixture of values is
    that of the tokens, times V: so K and V multiply a row for each head, of which there are fewer than tokens. A bias
    of the keys adds the same to the scores of all tokens, so the softmax does not see it.
    """
    query = write.linear(f"{name}.query", first, part.query)
    scaled = write.constant(f"{name}.scale", _of_each_head(part) / part.attention_head_size**0.5)
    queries = write.node("Mul", f"{name}.queries", [query, scaled])  # (batch, heads, hidden), each head's own part
    asked = write.product(f"{name}.key", queries, part.key.weight)
    weights = _weights(write, name, asked, states, mask)
    mixed = write.node("MatMul", f"{name}.mixed", [weights, states])
    return _own(write, name, part, write.product(f"{name}.value", mixed, part.value.weight.T), keepdims=1)


def _known_attention(write: _Writer, name: str, part: Any, states: str, first: torch.Tensor, mask: str) -> str:
    """The same where the first token's vector is known, and so q K: (batch, hidden)."""
    query = part.query(first) * _of_each_head(part)[0] / part.attention_head_size**0.5  # (heads, hidden)
    # Of three dimensions: a quantizer takes matrices, and this product is small and decides much.
    asked = write.constant(f"{name}.asked", (query @ part.key.weight).unsqueeze(0))
    weights = _weights(write, name, asked, states, mask)
    values = write.product(f"{name}.value", states, part.value.weight.T)
    return _own(write, name, part, write.node("MatMul", f"{name}.mixed", [weights, values]), keepdims=0)


def _weights(write: _Writer, name: str, asked: str, states: str, mask: str) -> str:
    """softmax(asked · statesᵀ), how much each head takes of each token: (batch, heads, sequence).

    Args:
        asked: (batch or 1, heads, hidden).
        states: (batch, sequence, hidden).
    """
    scores = write.node("FusedMatMul", f"{name}.scores", [asked, states], fused=True, transB=1)
    if mask:
        kept = write.node("Cast", f"{name}.kept", [mask], to=TensorProto.FLOAT)
        padding = write.node("Sub", f"{name}.padding", [kept, write.constant(f"{name}.one", np.array(1, np.float32))])
        much = write.constant(f"{name}.much", np.array(10_000, np.float32))
        hidden = write.node("Mul", f"{name}.hidden", [padding, much])
        rows = write.node("Unsqueeze", f"{name}.hidden.rows", [hidden, write.constant(f"{name}.mask_axis", [1])])
        scores = write.node("Add", f"{name}.masked", [scores, rows])
    return write.node("Softmax", f"{name}.softmax", [scores], axis=-1)


def _own(write: _Writer, name: str, part: Any, mixed: str, keepdims: int) -> str:
    """Of what the heads mixed, (batch, heads, hidden), each one's own part: (batch, 1, hidden) or (batch, hidden)."""
    own = write.node("Mul", f"{name}.own", [mixed, write.constant(f"{name}.of_each_head", _of_each_head(part))])
    axis = write.constant(f"{name}.heads_axis", [1])
    return write.node("ReduceSum", f"{name}.attended", [own, axis], keepdims=keepdims)


def _of_each_head(part: Any) -> torch.Tensor:
    """1 where a number of a vector is a head's, else 0: (1, heads, hidden)."""
    return torch.eye(part.num_attention_heads).repeat_interleave(part.attention_head_size, dim=1).unsqueeze(0)
