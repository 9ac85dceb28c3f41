"""The picture of the affine map: real values over the integers that they become."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from intents.primer.affine import Mapped
from intents.reports.markdown import minus
from intents.reports.style import BLUE, GREEN, ORANGE, RED

FLOATS, INTEGERS = 1.0, 0.0  # heights of the two lines
PAPER = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}


def affine_maps(rows: Sequence[Mapped]) -> Figure:
    """A row per map: the real line on its integers, and the steps around zero with some of the values on them."""
    figure, grid = plt.subplots(len(rows), 2, figsize=(12, 2.8 * len(rows)), width_ratios=[2.1, 1], squeeze=False)
    for (line, steps), row in zip(grid, rows, strict=True):
        _two_lines(line, row)
        _staircase(steps, row)
    return figure


def _two_lines(axes: Axes, row: Mapped) -> None:
    """The distribution of the values over a line of reals, and below it the line of integers it lands on."""
    values, affine = row.values.ravel(), row.affine
    first, last = affine.restore(np.array([affine.low, affine.high]))
    ends = min(values.min(), first), max(values.max(), last)
    counts, edges = np.histogram(values, bins=160, range=ends)
    heights = FLOATS + 0.8 * np.sqrt(counts / counts.max())  # square roots, or the tails could not be seen
    inside = ~affine.clipped((edges[:-1] + edges[1:]) / 2)
    for kept, colour in ((inside, BLUE), (~inside, RED)):
        axes.bar(
            edges[:-1][kept], (heights - FLOATS)[kept], np.diff(edges)[kept], FLOATS, align="edge", color=colour, lw=0
        )
    axes.hlines(FLOATS, *ends, color="black", linewidth=1)
    axes.hlines(INTEGERS, first, last, color="black", linewidth=1)
    axes.vlines(
        affine.restore(np.arange(affine.low, affine.high + 1)), INTEGERS - 0.05, INTEGERS + 0.05, color=GREEN, lw=0.8
    )
    marked = np.unique([values.min(), 0.0, last, values.max()])
    landing = affine.restore(affine.quantize(marked))
    for value, place, lost in zip(marked, landing, affine.clipped(marked), strict=True):
        axes.plot([value, place], [FLOATS, INTEGERS], color=RED if lost else "black", linewidth=0.9, linestyle="--")
    span = ends[1] - ends[0]
    for value in _apart(marked.tolist(), 0.05 * span):
        text = minus(f"{value:.2f}") if value else "0"
        axes.text(value, FLOATS - 0.09, text, ha="center", va="top", fontsize=9, bbox=PAPER)
    whole = {affine.low: first, affine.zero_point: 0.0, affine.high: last}
    shown = _apart(list(whole.values()), 0.035 * span)
    for integer, place in whole.items():
        if place in shown:
            axes.text(place, INTEGERS - 0.12, minus(str(integer)), ha="center", va="top", fontsize=9, color=GREEN)
    axes.text(ends[0] - 0.02 * span, FLOATS, "f", ha="right", va="center", style="italic")
    axes.text(ends[0] - 0.02 * span, INTEGERS, "q", ha="right", va="center", style="italic", color=GREEN)
    axes.set_ylim(-0.45, 1.85)
    axes.set_title(f"{row.title}:  S = {affine.scale:.4g}, Z = {affine.zero_point}", fontsize=11)
    axes.axis("off")


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Those of the places, zero and the outermost first, that leave a gap to each other."""
    kept: list[float] = []
    for place in sorted(places, key=lambda place: (place != 0, -abs(place))):
        if all(abs(place - other) >= gap for other in kept):
            kept.append(place)
    return kept


def _staircase(axes: Axes, row: Mapped) -> None:
    """q over f around zero, or where the range ends if the map clips; a few of the values on their steps."""
    values, affine = np.sort(row.values.ravel()), row.affine
    clips = bool(affine.clipped(values).any())
    centre = affine.high + 2 if clips else affine.zero_point
    left, right = affine.restore(np.array([centre - 6.5, centre + 6.5])).tolist()
    reals = np.linspace(left, right, 2000)
    axes.plot(reals, reals / affine.scale + affine.zero_point, color=ORANGE, linewidth=1.2, label="f / S + Z")
    axes.plot(reals, affine.quantize(reals), color=GREEN, linewidth=1.2, label="q, rounded and clipped")
    near = values[(values >= left) & (values <= right)]
    some = near[np.unique(np.linspace(0, len(near) - 1, 40).astype(int))] if len(near) else near
    lost = affine.clipped(some)
    for which, colour in ((~lost, BLUE), (lost, RED)):
        axes.scatter(some[which], affine.quantize(some[which]), s=16, color=colour, zorder=3)
    axes.yaxis.set_major_locator(FixedLocator(np.arange(centre - 6, centre + 7, 2).tolist()))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8)
    axes.set_xlabel("f", fontsize=9)
    axes.set_ylabel("q", fontsize=9, rotation=0, labelpad=10)
    axes.set_title("where the integers end" if clips else "around zero", fontsize=10, fontweight="normal")
    axes.legend(fontsize=8, loc="upper left")
