"""The pictures of what compression does to weights: rounding them, setting them to zero, cutting them out."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from intents.reports.style import BLUE, GREEN, GREY, ORANGE


def weight_histogram(name: str, weight: np.ndarray, quantized: np.ndarray, scales: np.ndarray) -> Figure:
    """One matrix before quantization, as int8, and what the rounding changed.

    Args:
        weight: float32, (rows, columns).
        quantized: int8, same shape.
        scales: float32, (rows, 1); weight ≈ quantized · scales.
    """
    figure, (before, after, error) = plt.subplots(1, 3, figsize=(12, 3.8))
    before.hist(weight.ravel(), bins=201, color=GREY)
    before.set_title("float32 weights")
    before.set_xlabel("value")
    values, counts = np.unique(quantized, return_counts=True)
    after.bar(values, counts, width=1.0, color=GREEN)
    after.set_title("the same as int8, q = w / s")
    by_row = len(np.unique(scales)) > 1
    spikes = "; each row's largest weight is ±127" if by_row else ""
    after.set_xlabel(f"q, {len(values)} distinct values{spikes}")
    error.hist(
        (quantized * scales - weight).ravel() / np.broadcast_to(scales, weight.shape).ravel(), bins=101, color=ORANGE
    )
    error.set_title("rounding error")
    error.set_xlabel("(q · s − w) / s, within ±0.5" + ("; 0 for each row's largest" if by_row else ""))
    for axes in (before, after, error):
        axes.set_yticks([])
        axes.set_ylabel("count")
        axes.grid(visible=False)
    title = f"{name}  {weight.shape[0]} × {weight.shape[1]}, {'a scale per row' if by_row else 'one scale'}"
    figure.suptitle(title, fontsize=10, color="#444444")
    return figure


def sparsity_schedules(schedules: Mapping[str, pd.DataFrame], layers: Mapping[str, Mapping[str, float]]) -> Figure:
    """The share of zeros as training went on, and where it ended in each layer.

    Args:
        schedules: per method, columns step, due, sparsity.
        layers: per method, the final share of zeros of each matrix.
    """
    figure, (ramp, bars) = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=[1, 1.3])
    colours = dict(zip(schedules, cycle((BLUE, ORANGE, GREEN, GREY)), strict=False))
    for (method, schedule), dashes in zip(
        schedules.items(), cycle(("-", "--", ":")), strict=False
    ):  # they may coincide
        ramp.plot(schedule["step"], schedule["due"], color=colours[method], linewidth=5, alpha=0.3)
        ramp.plot(schedule["step"], schedule["sparsity"], dashes, color=colours[method], linewidth=1.8, label=method)
    ramp.set_ylim(0, 1)
    ramp.yaxis.set_major_formatter(PercentFormatter(1.0))
    ramp.set_xlabel("training step\n(broad: due by the cubic schedule; thin: reached)")
    ramp.set_ylabel("zeros in the encoder's weights")
    ramp.set_title("Sparsity as it ran")
    ramp.legend(loc="lower right")
    table = pd.DataFrame(layers)[::-1]
    table.index = [name.removeprefix("encoder.").removeprefix("transformer.") for name in table.index]
    table.plot.barh(ax=bars, color=colours, width=0.75, legend=False)
    bars.set_xlim(0, 1)
    bars.xaxis.set_major_formatter(PercentFormatter(1.0))
    bars.tick_params(axis="y", labelsize=8)
    bars.grid(axis="y", visible=False)
    bars.set_xlabel("zeros in the matrix")
    bars.set_title("Zeros by layer at the end")
    return figure


def heads_and_neurons(layers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """What structured pruning kept of each layer: the heads one by one, the neurons as a share.

    Args:
        layers: per layer heads (numbers of those kept), heads_before, neurons and neurons_before (counts).
    """
    figure, (heads, neurons) = plt.subplots(
        1, 2, figsize=(11, 0.5 * len(layers) + 1.7), width_ratios=[1.6, 1], sharey=True
    )
    names = list(layers)[::-1]
    for place, name in enumerate(names):
        row = layers[name]
        for head in range(row["heads_before"]):
            kept = head in row["heads"]
            heads.scatter(head, place, s=170, marker="s", color=BLUE if kept else "none", edgecolors=BLUE)
        neurons.barh(place, row["neurons_before"], color="none", edgecolor=BLUE, height=0.6)
        neurons.barh(place, row["neurons"], color=BLUE, height=0.6)
        neurons.text(row["neurons_before"] * 1.02, place, f"{row['neurons']} of {row['neurons_before']}", va="center")
    heads.set_yticks(range(len(names)), names)
    heads.xaxis.set_major_locator(MaxNLocator(integer=True))
    heads.set_xlabel("head (filled: kept)")
    heads.set_title("Attention heads")
    neurons.set_xlim(0, 1.4 * max(row["neurons_before"] for row in layers.values()))
    neurons.set_xticks([])  # the numbers stand beside the bars
    neurons.set_xlabel("neurons")
    neurons.set_title("Feed-forward neurons")
    for axes in (heads, neurons):
        axes.grid(visible=False)
        axes.margins(y=0.3)
    return figure
