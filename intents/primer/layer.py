"""The layer that the primer draws: its weights before and after quantization, and what one query gives it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from intents.primer.affine import Affine, Mapped

OUTLIERS = 0.999  # the quantile of the inputs at which the narrower of the two ranges ends


@dataclass(frozen=True)
class Layer:
    name: str
    weight: np.ndarray  # float32, (outputs, inputs)
    quantized: np.ndarray  # int8, same shape
    scales: np.ndarray  # (outputs, 1); weight ≈ quantized · scales
    inputs: Mapping[str, np.ndarray]  # of this layer and of those like it, by name, each (tokens, inputs)
    levels: int  # integers that an activation may take: 256, or 128 in seven bits

    @property
    def given(self) -> np.ndarray:
        """What the query gives this layer, (tokens, inputs)."""
        return self.inputs[self.name]

    def maps(self) -> tuple[Mapped, Mapped, Mapped]:
        """A row of the weights, the inputs, and the inputs in a narrower range, each with the map to integers."""
        lowest, highest = float(self.given.min()), float(self.given.max())
        most = float(np.quantile(self.given, OUTLIERS))
        return (
            Mapped("Weights of one row, symmetric", self.weight[0], Affine(float(self.scales[0, 0]), 0, -127, 127)),
            Mapped("Activations of one query, asymmetric", self.given, Affine.asymmetric(lowest, highest, self.levels)),
            Mapped("The same with a narrower range, clipped", self.given, Affine.asymmetric(lowest, most, self.levels)),
        )
