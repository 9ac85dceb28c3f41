"""Static int8: the range of what is multiplied by a weight is taken from training queries, once.

That saves the measuring in each call, gives a query the same answer in any batch, and clips what goes beyond the range.
"""

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, create_calibrator
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer

from intents.core.settings import at_least, seed_number
from intents.onnx import common
from intents.onnx.common import OPERATORS, Feed, Quantizer, names_of
from intents.onnx.graph import quietly

Calibration = Enum("Calibration", ["MinMax", "Entropy", "Percentile"])


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    symmetric: bool  # activations with zero point at the middle of their range, else where it fits best
    calibration: Calibration  # how a tensor's range follows from the values seen
    queries: int = at_least(1)  # training queries that are calibrated on
    seed: int = seed_number()  # of the queries drawn

    def quantizer(self, graph: Path, training: Sequence[str], inputs: Callable[[str], Feed]) -> Quantizer:
        # One query each: padding would widen the ranges.
        ranges = self.calibrate(graph, [inputs(query) for query in self.drawn(training)])

        def write(target: Path, nodes: Collection[str]) -> None:
            with quietly():
                self.quantize(graph, target, nodes, ranges)

        return write

    def drawn(self, training: Sequence[str]) -> list[str]:
        """The queries to calibrate on, drawn without replacement."""
        chosen = np.random.default_rng(self.seed).permutation(len(training))[: self.queries]
        return [training[index] for index in chosen]

    def calibrate(self, graph: Path, feeds: Sequence[Feed]) -> TensorsData:
        """The ranges of the tensors that are multiplied by weights, over all feeds."""
        with quietly(), tempfile.TemporaryDirectory() as scratch:
            calibrator = create_calibrator(
                graph,
                ["Attention", "Gemm", "MatMul"],
                augmented_model_path=str(Path(scratch) / "augmented.onnx"),
                calibrate_method=CalibrationMethod[self.calibration.name],
                extra_options={"symmetric": self.symmetric},
            )
            for feed in feeds:  # one at a time, since a histogram is made of arrays of one shape
                calibrator.collect_data(_Feeds([feed]))
            return calibrator.compute_data()

    def quantize(self, graph: Path, target: Path, nodes: Collection[str], ranges: TensorsData) -> None:
        """Write the graph with the weights of these nodes in int8, and their inputs on the grid of their ranges.

        ONNX Runtime's quantize_static knows no Attention. This is its quantizer in the mode that quantize_dynamic
        uses, which does, with fixed ranges.
        """
        plain = ONNXModel(load_model_with_shape_infer(graph))
        plain.replace_gemm_with_matmul()
        quantizer = ONNXQuantizer(
            plain.model,
            self.per_channel,
            self.reduce_range,
            QuantizationMode.IntegerOps,
            True,  # static
            QuantType[self.weight_type.name],
            QuantType.QUInt8,  # int8 has no kernel on x86: there it runs as float32, at a tenth of the speed
            ranges,
            names_of(nodes),
            [],  # to exclude: all that is not named
            OPERATORS,
            # The default is for the result of what was a Gemm, whose type is noted nowhere.
            {"ActivationSymmetric": self.symmetric, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantizer.quantize_model()
        _join_products(quantizer.model.model.graph)
        quantizer.model.save_model_to_file(target)


class _Feeds(CalibrationDataReader):
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.rest = iter(feeds)

    def get_next(self) -> Feed | None:  # type: ignore[override]
        return next(self.rest, None)


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
