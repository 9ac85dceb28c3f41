"""Dynamic int8: the range of what is multiplied by a weight is measured in each call.

So an answer depends a little on the padding and the other queries of its batch.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from intents.onnx import common
from intents.onnx.common import OPERATORS, Feed, Quantizer, names_of
from intents.onnx.graph import quietly


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    def quantizer(self, graph: Path, training: Sequence[str], inputs: Callable[[str], Feed]) -> Quantizer:  # noqa: ARG002
        def write(target: Path, nodes: Collection[str]) -> None:
            with quietly():
                quantize_dynamic(
                    graph,
                    target,
                    op_types_to_quantize=OPERATORS,
                    weight_type=QuantType[self.weight_type.name],
                    per_channel=self.per_channel,
                    reduce_range=self.reduce_range,
                    nodes_to_quantize=names_of(nodes),
                )

        return write
