"""A graph in ONNX's own operators: the same numbers, for runtimes that do not know ONNX Runtime's fused ones.

Fused graphs are the fast ones in ONNX Runtime, and few others load them. Here each operator of com.microsoft gives way
to what it stands for (onnxruntime/docs/ContribOperators.md), so weights, integers and scales stay as they are. Inputs
become those that loaders of Hugging Face models give: input_ids and attention_mask, int64. Padding is left out of every
attention, whether or not the fused graph had a mask.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from intents.core.errors import PipelineError

INPUTS = ("input_ids", "attention_mask")
# Added to the scores of padding. Its exponential is 0 beside any score, also in 16-bit floats, as some runtimes have.
HIDDEN = -10000.0


class NoPlainFormError(PipelineError):
    """A graph has an operator of another domain whose meaning is not written here."""


class _Writer:
    """Nodes and constants in the order in which they are added, with names that no other tensor has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = list(graph.initializer)
        self.sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self._mask = ""

    def constant(self, name: str, value: Any, kind: Any = np.int64) -> str:
        if name not in self.sizes:
            self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
            self.sizes[name] = np.shape(value)
        return name

    def node(self, kind: str, name: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{name}:plain"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name, **attributes))
        return output

    def mask(self) -> str:
        """What is added to the scores of attention, (batch, 1, 1, sequence): 0 for a token, `HIDDEN` for padding."""
        if not self._mask:
            kept = self.node("Cast", "mask.kept", ["attention_mask"], to=TensorProto.FLOAT)
            padding = self.node("Sub", "mask.padding", [self.constant("mask.one", 1, np.float32), kept])
            added = self.node("Mul", "mask.added", [padding, self.constant("mask.hidden", HIDDEN, np.float32)])
            self._mask = self.node("Unsqueeze", "mask", [added, self.constant("mask.axes", [1, 2])])
        return self._mask

    def attend(self, node: onnx.NodeProto, states: Sequence[str], width: int) -> None:
        """softmax(q · kᵀ · scale + mask) · v for each head, of q, k and v of (batch, tokens, width)."""
        name, heads, size = node.name, _attribute(node, "num_heads"), width // _attribute(node, "num_heads")
        shape = self.constant(f"{name}.heads", [0, 0, heads, size])

        def apart(part: str, tensor: str, order: Sequence[int]) -> str:
            shaped = self.node("Reshape", f"{name}.{part}.heads", [tensor, shape])
            return self.node("Transpose", f"{name}.{part}", [shaped], perm=order)

        query, key, value = states
        scale = self.constant(f"{name}.scale", _attribute(node, "scale", 0) or size**-0.5, np.float32)
        left, right = apart("query", query, (0, 2, 1, 3)), apart("key", key, (0, 2, 3, 1))
        scores = self.node("MatMul", f"{name}.scores", [left, right])
        scaled = self.node("Mul", f"{name}.scaled", [scores, scale])
        masked = self.node("Add", f"{name}.masked", [scaled, self.mask()])
        weights = self.node("Softmax", f"{name}.softmax", [masked], axis=-1)
        mixed = self.node("MatMul", f"{name}.mixed", [weights, apart("value", value, (0, 2, 1, 3))])
        rows = self.node("Transpose", f"{name}.rows", [mixed], perm=(0, 2, 1, 3))
        self.node("Reshape", name, [rows, self.constant(f"{name}.joined", [0, 0, width])], node.output[0])

    def scaled_product(self, node: onnx.NodeProto, left: Sequence[str], right: Sequence[str], output: str = "") -> str:
        """The product of two integer tensors in float32; each is (integers, scale, zero point)."""
        zeros = [part[2] for part in (left, right)]
        product = self.node("MatMulInteger", f"{node.name}.integers", [left[0], right[0], *zeros])
        cast = self.node("Cast", f"{node.name}.float", [product], to=TensorProto.FLOAT)
        scale = self.node("Mul", f"{node.name}.scales", [left[1], right[1]])
        return self.node("Mul", f"{node.name}.product", [cast, scale], output)


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), default)


def _inputs(node: onnx.NodeProto, count: int) -> list[str]:
    """The inputs of a node, "" for those that it goes without."""
    return [*node.input, *[""] * count][:count]


def _joined_attention(write: _Writer, node: onnx.NodeProto, product: str, bias: str) -> None:
    """Attention of query, key and value that come of one product."""
    width = write.sizes[bias][0] // 3
    summed = write.node("Add", f"{node.name}.sum", [product, bias])
    parts = [f"{node.name}.{part}.joined" for part in ("query", "key", "value")]
    widths = write.constant(f"{node.name}.widths", [width] * 3)
    write.nodes.append(helper.make_node("Split", [summed, widths], parts, f"{node.name}.split", axis=2))
    write.attend(node, parts, width)


def _attention(write: _Writer, node: onnx.NodeProto) -> None:
    states, weight, bias = _inputs(node, 3)
    _joined_attention(write, node, write.node("MatMul", f"{node.name}.product", [states, weight]), bias)


def _q_attention(write: _Writer, node: onnx.NodeProto) -> None:
    states, weight, bias, scale, weight_scale, _, zero, weight_zero = _inputs(node, 8)
    product = write.scaled_product(node, (states, scale, zero), (weight, weight_scale, weight_zero))
    _joined_attention(write, node, product, bias)


def _multi_head_attention(write: _Writer, node: onnx.NodeProto) -> None:
    query, key, value, bias = _inputs(node, 4)
    width = write.sizes[bias][0] // 3
    axis, states = write.constant("bias_axis", [0]), []
    for place, tensor in enumerate((query, key, value)):
        ends = [write.constant(f"{node.name}.bias.{end}", [end * width]) for end in (place, place + 1)]
        part = write.node("Slice", f"{node.name}.bias.of.{place}", [bias, *ends, axis])
        states.append(write.node("Add", f"{node.name}.sum.{place}", [tensor, part]))
    write.attend(node, states, width)


def _product(write: _Writer, node: onnx.NodeProto) -> None:
    left, right, left_scale, right_scale, left_zero, right_zero, bias = _inputs(node, 7)
    output = "" if bias else node.output[0]
    found = write.scaled_product(node, (left, left_scale, left_zero), (right, right_scale, right_zero), output)
    if bias:
        write.node("Add", node.name, [found, bias], node.output[0])


def _skip_normalization(write: _Writer, node: onnx.NodeProto) -> None:
    states, skip, weight, beta, bias = _inputs(node, 5)
    if bias:
        states = write.node("Add", f"{node.name}.bias", [states, bias])
    summed = write.node("Add", f"{node.name}.sum", [states, skip], _outputs(node, 4)[3])
    constants = [weight, *([beta] if beta else [])]
    epsilon = _attribute(node, "epsilon", 1e-12)
    write.node("LayerNormalization", node.name, [summed, *constants], node.output[0], axis=-1, epsilon=epsilon)


def _outputs(node: onnx.NodeProto, count: int) -> list[str]:
    return [*node.output, *[""] * count][:count]


def _scores(write: _Writer, node: onnx.NodeProto) -> None:
    """queries · keysᵀ, (batch, heads, sequence): what the first token of a lean graph takes its softmax of."""
    queries, keys = node.input
    turned = write.node("Transpose", f"{node.name}.turned", [keys], perm=(0, 2, 1))
    scores = write.node("MatMul", f"{node.name}.product", [queries, turned])
    hidden = write.node("Squeeze", f"{node.name}.hidden", [write.mask(), write.constant("mask.heads", [1])])
    write.node("Add", node.name, [scores, hidden], node.output[0])


def _gelu(write: _Writer, node: onnx.NodeProto) -> None:
    """x/2 · (1 + erf(x/√2)): more runtimes know Erf than ONNX's Gelu, which came with operator set 20."""
    states = node.input[0]
    if len(node.input) == 2:
        states = write.node("Add", f"{node.name}.sum", node.input)
    root, one, half = (
        write.constant(f"gelu.{name}", value, np.float32)
        for name, value in (("root", 2**-0.5), ("one", 1.0), ("half", 0.5))
    )
    error = write.node("Erf", f"{node.name}.erf", [write.node("Mul", f"{node.name}.root", [states, root])])
    share = write.node("Mul", f"{node.name}.half", [write.node("Add", f"{node.name}.one", [error, one]), half])
    write.node("Mul", node.name, [states, share], node.output[0])


EXPANSIONS: Mapping[str, Callable[[_Writer, onnx.NodeProto], None]] = {
    "Attention": _attention,
    "BiasGelu": _gelu,
    "FusedMatMul": _scores,
    "Gelu": _gelu,
    "MatMulIntegerToFloat": _product,
    "MultiHeadAttention": _multi_head_attention,
    "QAttention": _q_attention,
    "SkipLayerNormalization": _skip_normalization,
}
# What attention may have here. Others of its settings and inputs (causal, relative positions, past keys) are for models
# that no stage exports.
KNOWN = {"num_heads", "scale", "mask_filter_value", "epsilon", "transB"}
MOST_INPUTS = {"Attention": 4, "MultiHeadAttention": 5, "QAttention": 8}


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same classifier in operators of ai.onnx alone, checked.

    Inputs input_ids and attention_mask, int64 (batch, sequence); output logits, float32 (batch, labels). Padding goes
    to the right of a query.

    Args:
        model: as onnx-export and ort-quantize write it; it stays as it is.

    Raises:
        NoPlainFormError: it has an operator of another domain whose meaning is not written here.
    """
    graph = model.graph
    write = _Writer(graph)
    for place, node in enumerate(graph.node):
        if not node.domain:
            write.nodes.append(node)
            continue
        named = onnx.NodeProto()
        named.CopyFrom(node)
        named.name = node.name or f"plain.{place}"
        _check(named)
        EXPANSIONS[node.op_type](write, named)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    nodes = _read(write.nodes, [output.name for output in graph.output])
    used = {name for node in nodes for name in node.input}
    for field in ("node", "initializer", "value_info", "input"):
        found.graph.ClearField(field)
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(tensor for tensor in write.constants if tensor.name in used)
    found.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS
    )
    standard = [entry for entry in model.opset_import if not entry.domain]
    del found.opset_import[:]
    found.opset_import.extend(standard)
    onnx.checker.check_model(found, full_check=True)
    return found


def _check(node: onnx.NodeProto) -> None:
    """Raise a NoPlainFormError unless there is an expansion that means what the node does."""
    settings = {one.name for one in node.attribute} - KNOWN
    extra = any(node.input[MOST_INPUTS.get(node.op_type, len(node.input)) :])
    if node.op_type not in EXPANSIONS or settings or extra or not node.output[0] or any(node.output[1:3]):
        told = f" with {', '.join(sorted(settings))}" if settings else ""
        raise NoPlainFormError(
            f"the graph has {node.domain}.{node.op_type}{told}, which has no plain form; allowed: "
            f"{', '.join(sorted(EXPANSIONS))}, as the stages write them"
        )


def _read(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs are computed from, in their order: a mask of the fused graph may be left over."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    return kept[::-1]
