"""int8 in ONNX Runtime: the weights of a fused graph, and what is multiplied by them, as 8-bit integers.

A weight W is stored as q = round(W / s), s = max|W| / 127, with one s per output channel or per matrix. The input x of
its product is asymmetric, q = round(x / s) + z, with s and z from the range of x: `dynamic` measures the range anew in
each call, so an answer depends a little on the padding and the other queries of its batch; `static` takes it from
training queries once and for all, which saves the measuring, and clips what goes beyond. Embedding tables are looked up
as integers and scaled afterwards. All between the products stays float32: normalization, softmax, GELU, the residual
stream, the biases, and the products within attention, which hold no weights.
"""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    create_calibrator,
    quantize_dynamic,
)
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer

from stages.library import onnx_graph
from stages.library.errors import PipelineError
from stages.library.onnx_graph import quietly
from stages.library.settings import at_least, between

Feed = Mapping[str, np.ndarray]

OPERATORS = ["Attention", "Gather", "MatMul"]  # a Gemm is made a MatMul
WeightType = Enum("WeightType", ["QInt8", "QUInt8"])
Calibration = Enum("Calibration", ["MinMax", "Entropy", "Percentile"])


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    weight_type: WeightType
    per_channel: bool  # a scale for each output channel, else one for each matrix
    reduce_range: bool  # 7-bit weights, for CPUs without VNNI
    exclude: list[str]  # nodes that stay in float32
    min_agreement: float = between(0, 1)  # with the parent's answers on validation, else the stage fails


@dataclass(frozen=True, kw_only=True)
class Static(Dynamic):
    symmetric: bool  # activations with zero point at the middle of their range, else where it fits best
    calibration: Calibration  # how a tensor's range follows from the values seen
    queries: int = at_least(1)  # training queries that are calibrated on
    seed: int = at_least(0)  # of the queries drawn


METHODS: dict[str, type[Dynamic]] = {"dynamic": Dynamic, "static": Static}


class _Feeds(CalibrationDataReader):
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.rest = iter(feeds)

    def get_next(self) -> Feed | None:  # type: ignore[override]
        return next(self.rest, None)


def calibration_queries(method: Dynamic, training: Sequence[str]) -> list[str]:
    """Those of the training queries that the method calibrates on, drawn without replacement; none if it does not."""
    if not isinstance(method, Static):
        return []
    chosen = np.random.default_rng(method.seed).permutation(len(training))[: method.queries]
    return [training[index] for index in chosen]


def included(graph: Path, exclude: Collection[str], key: str) -> list[str]:
    """The nodes with weights, in graph order, but for the excluded.

    Raises:
        PipelineError: an excluded node is none of them, or none is left; the message names `key`.
    """
    nodes = [node.name for node in onnx_graph.weight_nodes(onnx.load(graph).graph)]
    if unknown := sorted(set(exclude) - set(nodes)):
        raise PipelineError(f"`{key}` names {unknown[0]!r}; allowed: {', '.join(nodes)}")
    if left := [node for node in nodes if node not in exclude]:
        return left
    raise PipelineError(f"`{key}` names every node, so nothing would be int8; allowed: some of {', '.join(nodes)}")


def calibrate(graph: Path, method: Dynamic, feeds: Sequence[Feed]) -> TensorsData | None:
    """The ranges of the tensors that are multiplied by weights, over all feeds; None for a method that needs none.

    Args:
        feeds: inputs of the graph, those of the calibration queries. One query each: padding would widen the ranges.
    """
    if not isinstance(method, Static):
        return None
    with quietly(), tempfile.TemporaryDirectory() as scratch:
        calibrator = create_calibrator(
            graph,
            ["Attention", "Gemm", "MatMul"],
            augmented_model_path=str(Path(scratch) / "augmented.onnx"),
            calibrate_method=CalibrationMethod[method.calibration.name],
            extra_options={"symmetric": method.symmetric},
        )
        for feed in feeds:  # one at a time, since a histogram is made of arrays of one shape
            calibrator.collect_data(_Feeds([feed]))
        return calibrator.compute_data()


def quantize(
    source: Path, target: Path, method: Dynamic, nodes: Collection[str], ranges: TensorsData | None = None
) -> None:
    """Write the graph with some of its weights in int8.

    Args:
        source: a fused graph.
        method: the settings; their kind decides between dynamic and static.
        nodes: names of the nodes that become int8, each with a weight matrix; at least one.
        ranges: what `calibrate` found in the graph.
    """
    # A Gemm gets another name when it is made a MatMul.
    names = [*nodes, *(f"{node}_MatMul" for node in nodes)]
    with quietly():
        if not isinstance(method, Static):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=OPERATORS,
                weight_type=QuantType[method.weight_type.name],
                per_channel=method.per_channel,
                reduce_range=method.reduce_range,
                nodes_to_quantize=names,
            )
            return
        # ONNX Runtime's quantize_static knows no Attention. This is its quantizer in the mode that quantize_dynamic
        # uses, which does, with fixed ranges.
        plain = ONNXModel(load_model_with_shape_infer(source))
        plain.replace_gemm_with_matmul()
        quantizer = ONNXQuantizer(
            plain.model,
            method.per_channel,
            method.reduce_range,
            QuantizationMode.IntegerOps,
            True,  # static
            QuantType[method.weight_type.name],
            QuantType.QUInt8,  # int8 has no kernel on x86: there it runs as float32, at a tenth of the speed
            ranges,
            names,
            [],  # to exclude: all that is not named
            OPERATORS,
            # The default is for the result of what was a Gemm, whose type is noted nowhere.
            {"ActivationSymmetric": method.symmetric, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantizer.quantize_model()
        _join_products(quantizer.model.model.graph)
        quantizer.model.save_model_to_file(target)


def _join_products(graph: onnx.GraphProto) -> None:
    """Make one operator of each integer product, its cast to float32 and the scaling of that.

    A session does so for a dynamic graph. In a static one it multiplies the two constant scales first, and then no
    longer knows the pattern.
    """
    makers = {output: node for node in graph.node for output in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    for product in [node for node in graph.node if node.op_type == "MatMulInteger"]:
        cast = readers[product.output[0]]
        scaled = readers[cast.output[0]]
        scales = makers[scaled.input[1]]
        left, right, left_zero, right_zero = product.input
        joined = helper.make_node(
            "MatMulIntegerToFloat",
            [left, right, *scales.input, left_zero, right_zero],
            scaled.output,
            product.name,
            domain="com.microsoft",
        )
        graph.node.insert(list(graph.node).index(product), joined)
        for node in (product, cast, scales, scaled):
            graph.node.remove(node)
