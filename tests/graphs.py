"""Small ONNX graphs made by hand, settings to bring them to int8, and what is in a graph, read by onnx alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from intents.onnx import dynamic, static
from intents.onnx.common import Settings, WeightType
from intents.onnx.static import Calibration

OPSET = 20
SHARED = {
    "weight_type": WeightType.QInt8,
    "per_channel": True,
    "reduce_range": False,
    "exclude": [],
    "min_agreement": 0.0,
}
STATIC = {"symmetric": False, "calibration": Calibration.MinMax, "queries": 4, "seed": 0}


def dynamic_settings(**changes: object) -> Settings:
    return dynamic.Settings(**(SHARED | changes))


def static_settings(**changes: object) -> static.Settings:
    return static.Settings(**(SHARED | STATIC | changes))


SETTINGS = {"dynamic": dynamic_settings, "static": static_settings}


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    weights: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a graph, with the shapes that can be inferred."""
    constants = [numpy_helper.from_array(weight, name) for name, weight in (weights or {}).items()]
    graph = helper.make_graph(nodes, "by_hand", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def value(name: str, *shape: str | int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def product(folder: Path, weight: np.ndarray, inner: str = "Abs") -> Path:
    """A graph of one product of f(x) by a weight, (rows, columns), and of the residual f(x) that is added to it.

    Args:
        inner: f, an operator of one input.
    """
    nodes = [
        helper.make_node(inner, ["x"], ["inner"], "inner"),
        helper.make_node("MatMul", ["inner", "weight"], ["product"], "product"),
        helper.make_node("Add", ["product", "inner"], ["logits"], "residual"),
    ]
    columns = len(weight)
    return saved(
        folder / "float.onnx",
        nodes,
        [value("x", "rows", columns)],
        value("logits", "rows", columns),
        {"weight": weight},
    )


def lookup(path: Path, table: np.ndarray, *, masked: bool, kind: int = TensorProto.INT64) -> Path:
    """A graph that gives a query the sum of its tokens' rows of a table, (tokens, labels), as its logits.

    Args:
        masked: it takes attention_mask too, and leaves out the tokens where that is 0.
        kind: of integers, that it takes.
    """
    names = ["input_ids", *(["attention_mask"] if masked else [])]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["found"], "found")]
    if masked:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["kept"], "kept", to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["kept", "last"], ["column"], "column"),
            helper.make_node("Mul", ["found", "column"], ["rows"], "rows"),
        ]
    summed = helper.make_node("ReduceSum", ["rows" if masked else "found", "tokens"], ["logits"], "sum", keepdims=0)
    weights = {"table": table, "last": np.array([2], np.int64), "tokens": np.array([1], np.int64)}
    inputs = [value(name, "batch", "sequence", kind=kind) for name in names]
    return saved(path, [*nodes, summed], inputs, value("logits", "batch", table.shape[1]), weights)


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    """The logits that a graph of one input gives."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["logits"], {"x": x})[0]


def nodes_of(path: Path | str) -> list[onnx.NodeProto]:
    return list(onnx.load(path).graph.node)


def constants(path: Path | str) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def without_numbers(path: Path | str) -> bytes:
    """The bytes of a graph but for those of its weights, in which any short text can stand by chance."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return bytes(model.SerializeToString())


def float_products(path: Path | str) -> list[str]:
    """The names of the nodes that multiply by a float weight, in graph order."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    return [
        node.name.removesuffix("_MatMul")  # what quantization makes of a Gemm
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm", "Attention") and weights & set(node.input[:2])
    ]
