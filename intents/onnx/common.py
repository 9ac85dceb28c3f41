"""int8 in ONNX Runtime: what its techniques have in common.

The weights of a fused graph, and what is multiplied by them, become 8-bit integers. A weight W is stored as
q = round(W / s), s = max|W| / 127, with one s per output channel or per matrix. The input x of its product is
asymmetric, q = round(x / s) + z, with s and z from the range of x: where that range comes from is what tells the
techniques apart. Embedding tables are looked up as integers and scaled afterwards: ONNX Runtime makes them uint8 with
one scale and zero point for each table, whatever is set for the other weights. All between the products stays float32:
normalization, softmax, GELU, the residual stream, the biases, and the products within attention, which hold no weights.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import onnx

from intents.core.errors import PipelineError
from intents.core.settings import between
from intents.onnx import graph as onnx_graph

Feed = Mapping[str, np.ndarray]  # the inputs of a graph, by name
# Writes the int8 form of a graph to a path, with the weights of the nodes named in int8; at least one is.
Quantizer = Callable[[Path, Collection[str]], None]

OPERATORS = ["Attention", "Gather", "MatMul"]  # a Gemm is made a MatMul
WeightType = Enum("WeightType", ["QInt8", "QUInt8"])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that every technique has; each adds its own, and says how it quantizes."""

    weight_type: WeightType
    per_channel: bool  # a scale for each output channel, else one for each matrix
    reduce_range: bool  # 7-bit weights, for CPUs without VNNI
    exclude: list[str]  # nodes that stay in float32
    min_agreement: float = between(0, 1)  # with the parent's answers on validation, else the stage fails

    def quantizer(self, graph: Path, training: Sequence[str], inputs: Callable[[str], Feed]) -> Quantizer:
        """What makes the graph int8.

        Args:
            graph: a fused graph.
            training: the training queries, to calibrate on.
            inputs: the graph's inputs for a query.
        """
        raise NotImplementedError


def names_of(nodes: Collection[str]) -> list[str]:
    """What the nodes are called when they are quantized: a Gemm gets another name as it is made a MatMul."""
    return [*nodes, *(f"{node}_MatMul" for node in nodes)]


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
