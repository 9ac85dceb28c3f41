"""ONNX graphs: counted, fused and quantized."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the tools' own log: every fusion's progress, and advice to do first what was done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def operators(path: Path) -> dict[str, int]:
    """How often each operator stands in the graph."""
    return dict(sorted(Counter(node.op_type for node in onnx.load(path).graph.node).items()))


def node_names(path: Path) -> set[str]:
    return {node.name for node in onnx.load(path).graph.node}


def fuse(source: Path, target: Path) -> dict[str, int]:
    """Write the graph with attention, GELU and normalization subgraphs replaced by single operators.

    Returns:
        How many operators of each kind the fusion made; kinds it made none of are left out.
    """
    # Heads and hidden size are read off the graph: those of a pruned model are no longer its configuration's.
    # opt_level 0: ONNX Runtime's own optimizations depend on the CPU and belong to the session that serves.
    with _quietly():
        fused = optimizer.optimize_model(str(source), model_type="bert", num_heads=0, hidden_size=0, opt_level=0)
        fused.save_model_to_file(str(target))
        return {name: count for name, count in sorted(fused.get_fused_operator_statistics().items()) if count}


def quantize(
    source: Path, target: Path, weight_type: str, per_channel: bool, reduce_range: bool, exclude: list[str]
) -> None:
    """Write the graph with int8 weights, and activations quantized per call.

    Args:
        weight_type: QInt8 or QUInt8.
        per_channel: a scale for each output channel, else one for each matrix.
        reduce_range: 7-bit weights, which cannot overflow on CPUs without VNNI.
        exclude: names of nodes that stay in float32.
    """
    with _quietly():
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType[weight_type],
            per_channel=per_channel,
            reduce_range=reduce_range,
            nodes_to_exclude=exclude,
            # Fused operators have no shape inference, so the quantizer has to be told what it cannot infer.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
