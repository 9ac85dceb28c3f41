"""The affine map between real numbers and a range of integers, in NumPy: what the primer draws.

q = round(f / S + Z), held within the range; back again f ≈ S · (q − Z). S is the scale: the width of a step. Z is
the zero point: the integer that stands for 0 (Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", 2018, section 2.1).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Affine:
    scale: float
    zero_point: int
    low: int  # the smallest integer that may be used
    high: int  # the largest

    @classmethod
    def symmetric(cls, largest: float) -> "Affine":
        """−largest to largest on −127 to 127: zero is 0, and −128 stays unused so that both sides are alike."""
        return cls(largest / 127, 0, -127, 127)

    @classmethod
    def asymmetric(cls, low: float, high: float, levels: int = 256) -> "Affine":
        """low to high on 0 to levels − 1; the range is widened to hold zero, which must be exact."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / (levels - 1)
        return cls(scale, round(-low / scale), 0, levels - 1)

    def unclipped(self, values: np.ndarray) -> np.ndarray:
        """round(f / S + Z), wherever it falls."""
        return np.rint(values / self.scale + self.zero_point)

    def quantize(self, values: np.ndarray) -> np.ndarray:
        return np.clip(self.unclipped(values), self.low, self.high).astype(int)

    def restore(self, integers: np.ndarray) -> np.ndarray:
        return self.scale * (integers - self.zero_point)

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Which values fall outside the range of integers, bool, same shape."""
        integers = self.unclipped(values)
        return (integers < self.low) | (integers > self.high)

    def rms_error(self, values: np.ndarray) -> float:
        """The root of the mean square of what is lost on the way there and back."""
        return float(np.sqrt(np.mean((self.restore(self.quantize(values)) - values) ** 2)))


class Mapped(NamedTuple):
    """Real values with the map that quantizes them."""

    title: str
    values: np.ndarray  # any shape
    affine: Affine
