"""The range of what goes into each linear layer, read off queries that the model answers.

A transformer's activations have outliers: a few values far beyond all others. A range that takes them in spends most
of its 255 steps where there is nearly nothing; one that leaves out too many clips them, and they matter. Three ways
to choose:

- min_max: from the least value seen to the greatest;
- percentile: a share of the values is left out at either end;
- mse: the range with the least mean square error of the quantized values, which is the clipped values' own and, in
  the range, that of rounding to a step of S, S² / 12 (Banner, Nahshan and Soudry, "Post training 4-bit quantization
  of convolutional networks for rapid-deployment", 2019: there for a Laplace or Gauss distribution, here for the
  values as they are).
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core import files
from intents.core.errors import PipelineError
from intents.core.settings import at_least, between, seed_number
from intents.int8.kernels import Range, Scheme

RANGES = "ranges.json"
BINS = 4096
CANDIDATES = 256  # ends tried on either side of zero for the least error

Method = Enum("Method", ["min_max", "percentile", "mse"])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    range: Method
    percentile: float = between(50, 100)  # upper end of a range by percentile; what lies above is clipped, as below
    queries: int = at_least(1)  # drawn from the training split
    draw_seed: int = seed_number()  # of the queries drawn


class Histogram(NamedTuple):
    """How many values lie between each two edges."""

    edges: np.ndarray  # (bins + 1,), increasing, from the least value to the greatest
    counts: np.ndarray  # (bins,)


def min_max(seen: Histogram) -> tuple[float, float]:
    return float(seen.edges[0]), float(seen.edges[-1])


def percentiles(seen: Histogram, percentile: float) -> tuple[float, float]:
    """The values with a share of 100 − percentile below, and above."""
    below = np.concatenate([[0], np.cumsum(seen.counts)]) / seen.counts.sum() * 100
    low, high = np.interp([100 - percentile, percentile], below, seen.edges)
    return float(low), float(high)


def least_error(seen: Histogram, levels: int) -> tuple[float, float]:
    """The range, within that of the values and 0, with the least mean square error in `levels` steps."""
    values = (seen.edges[:-1] + seen.edges[1:]) / 2
    lows = np.linspace(min(seen.edges[0], 0), 0, CANDIDATES)
    highs = np.linspace(max(seen.edges[-1], 0), 0, CANDIDATES)
    under = np.maximum(lows[:, None] - values, 0)
    over = np.maximum(values - highs[:, None], 0)
    clipping = (under**2 @ seen.counts)[:, None] + (over**2 @ seen.counts)[None, :]
    outside = ((under > 0) @ seen.counts)[:, None] + ((over > 0) @ seen.counts)[None, :]
    step = (highs[None, :] - lows[:, None]) / levels
    rounding = (seen.counts.sum() - outside) * step**2 / 12
    low, high = np.unravel_index((clipping + rounding).argmin(), clipping.shape)
    return float(lows[low]), float(highs[high])


def choose(seen: Histogram, calibration: Calibration, levels: int) -> Range:
    """The range of a layer's inputs, widened to take in 0."""
    match calibration.range:
        case Method.min_max:
            low, high = min_max(seen)
        case Method.percentile:
            low, high = percentiles(seen, calibration.percentile)
        case Method.mse:
            low, high = least_error(seen, levels)
    return Range(min(low, 0.0), max(high, 0.0))


@contextmanager
def _inputs_of(layers: Mapping[str, nn.Linear], see: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """While the block runs, `see(name, inputs)` is called with what goes into each layer."""
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: see(name, inputs[0].detach()))
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def histograms(
    model: PreTrainedModel, layers: Mapping[str, nn.Linear], batches: list[Mapping[str, torch.Tensor]]
) -> dict[str, Histogram]:
    """What goes into each layer while the model answers the batches.

    The batches are run twice: once for the least and the greatest value, once to count between these. So the counts
    are exact, and no more than them is kept in memory, however many queries there are.
    """
    ends: dict[str, tuple[float, float]] = {}
    counts = {name: torch.zeros(BINS, dtype=torch.float64) for name in layers}

    def widen(name: str, inputs: torch.Tensor) -> None:
        low, high = ends.get(name, (float("inf"), -float("inf")))
        ends[name] = min(low, float(inputs.min())), max(high, float(inputs.max()))

    def count(name: str, inputs: torch.Tensor) -> None:
        counts[name] += torch.histc(inputs.float(), BINS, *ends[name])

    for see in (widen, count):
        with _inputs_of(layers, see):
            for batch in tqdm(batches, desc="calibration", unit="query", leave=False):
                model(**batch)
    return {name: Histogram(np.linspace(*ends[name], BINS + 1), counts[name].numpy()) for name in layers}


def calibrate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    layers: Mapping[str, nn.Linear],
    calibration: Calibration,
    levels: int,
) -> dict[str, Range]:
    """The range of each layer's inputs over queries drawn from `texts`, one at a time, so without padding."""
    drawn = random.Random(calibration.draw_seed).sample(texts, min(calibration.queries, len(texts)))
    batches = [tokenizer(text, truncation=True, return_token_type_ids=False, return_tensors="pt") for text in drawn]
    return {name: choose(seen, calibration, levels) for name, seen in histograms(model.eval(), layers, batches).items()}


def save(folder: Path, scheme: Scheme, ranges: Mapping[str, Range]) -> None:
    """ranges.json: {"scheme": {...}, "inputs": {layer: [low, high]}}."""
    described: dict[str, Any] = {field: asdict(scheme)[field] for field in Scheme.__dataclass_fields__}
    files.write_json(folder / RANGES, {"scheme": described, "inputs": dict(ranges)})


def load(folder: Path) -> tuple[Scheme, dict[str, Range]]:
    """The scheme and the ranges that `save` wrote.

    Raises:
        PipelineError: the file is missing or damaged.
    """
    described = files.read_json(folder / RANGES, "dvc repro qat")
    try:
        return Scheme(**described["scheme"]), {name: Range(*ends) for name, ends in described["inputs"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise PipelineError(
            f"{folder / RANGES} is no file of ranges: {type(error).__name__} {str(error)[:120]}; `dvc repro qat` does"
        ) from None
