"""The pictures of the primer. Each function takes what it draws and returns a matplotlib figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from intents.core import files
from intents.primer.movement import kept_by_size
from intents.primer.softening import Softened
from intents.primer.tensors import KINDS
from intents.pruning.schedule import cubic_sparsity
from intents.reports.style import BLUE, GREEN, GREY, ORANGE, RED


def storage(before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> Figure:
    """Bytes by part of the model before and after quantization, a pair of bars for each part.

    Args:
        before, after: per part, the bytes of each of tensors.KINDS.
    """
    figure, axes = plt.subplots(figsize=(9, 4.6))
    colours = dict(zip(KINDS, (GREEN, ORANGE, GREY), strict=True))
    longest = max(sum(kinds.values()) for kinds in before.values()) / files.MIB
    for place, part in enumerate(before):
        ratio = sum(before[part].values()) / sum(after[part].values())
        for offset, sizes, note in ((-0.19, before[part], ""), (0.19, after[part], f"   {ratio:.2f} times smaller")):
            left = 0.0
            for kind, colour in colours.items():
                width = sizes[kind] / files.MIB
                axes.barh(place + offset, width, 0.34, left=left, color=colour, label=kind if place == 0 else None)
                left += width
            axes.text(left + 0.008 * longest, place + offset, f"{left:.2f}{note}", va="center", fontsize=9)
    axes.set_yticks(range(len(before)), list(before))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.09 * longest)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("MiB of tensors, above as float32, below as int8")
    axes.set_title("Four bytes become one, and a scale for each row")
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), loc="lower right")
    return figure


def multiplication(multiply: Mapping[str, Any]) -> Figure:
    """Time of one product in float32 and int8 over the number of tokens, with the ratio at each.

    Args:
        multiply: outputs and inputs of the matrix and, per number of tokens, float32_us, int8_us and speedup, as in
            reports/latency.json.
    """
    measured = {int(tokens): row for tokens, row in multiply["tokens"].items()}
    figure, axes = plt.subplots(figsize=(9, 4.2))
    tokens = sorted(measured)
    for name, colour, marker in (("float32", GREY, "o"), ("int8", GREEN, "s")):
        axes.plot(tokens, [measured[n][f"{name}_us"] for n in tokens], color=colour, marker=marker, lw=2, label=name)
    for n in tokens:
        low, high = sorted((measured[n]["int8_us"], measured[n]["float32_us"]))
        axes.vlines(n, low, high, color="#BBBBBB", linewidth=1, zorder=0)
        axes.annotate(
            f"{measured[n]['speedup']:.1f} ×",
            (n, np.sqrt(low * high)),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            fontweight="bold",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_xticks(tokens, [str(n) for n in tokens])
    times = [10**power * step for power in range(-1, 7) for step in (1, 3)]
    low, high = (np.array(axes.get_ylim()) * (0.9, 1.1)).tolist()
    inside = [time for time in times if low <= time <= high]
    axes.yaxis.set_major_locator(FixedLocator(inside))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{time:g}" for time in inside]))
    axes.margins(x=0.1)
    axes.set_xlabel("tokens multiplied at once")
    axes.set_ylabel("median time (µs, logarithmic)")
    axes.set_title(f"One product of a linear layer, {multiply['inputs']} inputs to {multiply['outputs']} outputs")
    axes.legend(loc="upper left")
    return figure


def temperatures(queries: Sequence[Softened], steps: Sequence[float]) -> Figure:
    """A row per query, a column per temperature: bars for the teacher's probabilities, marks for the student's."""
    figure, grid = plt.subplots(
        len(queries), len(steps), figsize=(12, 2.7 * len(queries) + 0.6), sharey="row", squeeze=False
    )
    for line, query in zip(grid, queries, strict=True):
        places = np.arange(len(query.names))
        for axes, temperature, teacher, student in zip(line, steps, query.teacher, query.student, strict=True):
            axes.barh(places, teacher, color=ORANGE, height=0.7, label="teacher (and the numbers)")
            axes.scatter(student, places, color=BLUE, marker="D", s=22, zorder=3, clip_on=False, label="student")
            longest = max(teacher.max(), student.max())
            for place, ours, theirs in zip(places, teacher, student, strict=True):
                # At the bar, whose number it is, unless the student's mark lies there.
                hidden = ours - 0.06 * longest < theirs < ours + 0.4 * longest
                end = (max(ours, theirs) if hidden else ours) + 0.06 * longest
                axes.text(end, place, f"{100 * ours:.1f} %", va="center", fontsize=8)
            axes.set_xlim(0, 1.38 * longest)
            axes.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
            axes.tick_params(axis="x", labelsize=8)
            axes.grid(visible=False)
            axes.set_title(f"T = {temperature:g}", fontsize=11)
            rest = max(0.0, 1 - float(teacher.sum()))  # float32 sums may exceed 1: no minus before a zero
            axes.set_xlabel(f"all other intents: {100 * rest:.1f} %", fontsize=9, color="#444444")
        line[0].set_yticks(places, query.names)
        line[0].invert_yaxis()
        line[0].set_ylabel(f"a query of\n{query.intent}", fontsize=9)
    figure.align_ylabels(grid[:, 0])
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
    return figure


def gradients(steps: Sequence[float], plain: Sequence[float], scaled: Sequence[float]) -> Figure:
    """How strongly the teacher pulls at the student's logits over the temperature, without T² and with it.

    Args:
        steps: the temperatures.
        plain, scaled: mean norm of the gradient of KL and of T² · KL.
    """
    figure, axes = plt.subplots(figsize=(9, 3.8))
    axes.plot(steps, scaled, color=BLUE, marker="o", linewidth=2, label="of T² · KL, the loss that is used")
    axes.plot(steps, plain, color=GREY, marker="o", linewidth=2, label="of KL alone")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(steps), [f"{step:g}" for step in steps])
    axes.set_xlabel("temperature T")
    axes.set_ylabel("mean norm of the gradient")
    axes.set_title("How strongly a query pulls at the student's logits")
    axes.legend(loc="lower left")
    return figure


def schedule(axes: Axes) -> None:
    """The cubic ramp of sparsity beside a straight one."""
    done = np.linspace(0, 1, 201)
    axes.plot(done, [cubic_sparsity(t, 1.0, 0.0, 1.0) for t in done], color=ORANGE, lw=3, label="cubic, 1 − (1 − t)³")
    axes.plot(done, done, color=GREY, linewidth=1.2, linestyle="--", label="straight")
    axes.annotate("half of the ramp,\n87.5 % of the zeros", (0.5, 0.875), (0.0, 0.93), fontsize=9, arrowprops=ARROW)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share t of the ramp")
    axes.set_ylabel("share of the final sparsity")
    axes.set_title("When weights go")
    axes.legend(loc="lower right", fontsize=9)


ARROW = {"arrowstyle": "-", "color": "black", "linewidth": 0.8}


def pruning(before: np.ndarray | None = None, after: np.ndarray | None = None) -> Figure:
    """When weights go and, if there is a pruned matrix, which: its weights before and after, and kept by size.

    Args:
        before: a weight matrix of the student.
        after: the same matrix pruned by movement, zeros where weights went.
    """
    if before is None or after is None:
        figure, axes = plt.subplots(figsize=(6, 4.2))
        schedule(axes)
        return figure
    figure, (ramp, moved, shares) = plt.subplots(1, 3, figsize=(13, 4.4))
    schedule(ramp)
    kept = after != 0
    some = np.random.default_rng(0).permutation(before.size)[:6000]
    x, y, stays = before.ravel()[some], after.ravel()[some], kept.ravel()[some]
    moved.scatter(x[~stays], y[~stays], s=5, color=RED, label="dropped", alpha=0.35, lw=0)
    moved.scatter(x[stays], y[stays], s=5, color=BLUE, label="kept", alpha=0.5, lw=0)
    limit = 1.05 * np.quantile(np.abs([x, y]), 0.999)
    moved.plot([-limit, limit], [-limit, limit], color="black", linewidth=0.8)
    moved.set_xlim(-limit, limit)
    moved.set_ylim(-limit, limit)
    moved.xaxis.set_major_locator(MaxNLocator(4))
    moved.set_xlabel("weight before")
    moved.set_ylabel("weight after")
    moved.set_title("Which weights movement keeps")
    moved.legend(loc="upper left", markerscale=3, fontsize=9)
    share = kept_by_size(before, kept)
    places = (np.arange(len(share)) + 0.5) / len(share)
    shares.step([0, 1 - kept.mean(), 1 - kept.mean(), 1], [0, 0, 1, 1], color=GREY, linewidth=2, label="magnitude")
    shares.plot(places, share, color=BLUE, marker="o", markersize=4, linewidth=2, label="movement")
    shares.xaxis.set_major_formatter(PercentFormatter(1.0))
    shares.yaxis.set_major_formatter(PercentFormatter(1.0))
    shares.set_xlabel("weights from the smallest to the largest, |w| before")
    shares.set_ylabel("share kept")
    shares.set_title("How much their size decides")
    shares.legend(loc="upper left", fontsize=9)
    return figure
