"""The text of the primer, as Markdown. Each function is a section: it takes the numbers that it tells of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from intents.primer.affine import Affine
from intents.primer.figures import Mapped, Softened, kept_by_size, minus
from intents.primer.softening import Pull
from intents.reports.markdown import percent
from intents.reports.markdown import table as markdown_table

Inputs = Mapping[str, np.ndarray]

OPENING = """# How the model is made small, shown on the model itself

The pictures and numbers here are computed from this pipeline's own models, by `python -m stages.primer`.
How good and how fast each variant is stands in [the report](../report.md).
"""


def affine_map(layer: str, weights: Mapped, activations: Mapped, narrowed: Mapped, inputs: Inputs) -> str:
    """The section on scale, zero point and clipping.

    Args:
        inputs: of the layers like this one, what the same query gives them.
    """
    row, wide, narrow = weights.affine, activations.affine, narrowed.affine
    lowest, highest = float(activations.values.min()), float(activations.values.max())
    wasteful = Affine.symmetric(max(-lowest, highest))
    clipped = narrow.clipped(narrowed.values)
    inside_error = narrow.rms_error(narrowed.values[~clipped]), wide.rms_error(activations.values[~clipped])
    spread = {name: float(values.max() / np.quantile(values, 0.999)) for name, values in inputs.items()}
    worst = max(spread, key=lambda name: spread[name])
    biggest = int(np.abs(weights.values).argmax())
    example = float(weights.values[biggest])
    integer = int(row.quantize(weights.values)[biggest])
    return f"""## From float32 to int8: a scale and a zero point

$$q = \\mathrm{{round}}\\left(\\frac{{f}}{{S}} + Z\\right), \\qquad f \\approx S (q - Z)$$

A real number $f$ is replaced by the nearest of 256 evenly spaced ones (255 where the map is symmetric), and only its
number $q$ is stored. The scale
$S$ is the width of a step; the zero point $Z$ is the integer that stands for 0.

![Real values over the integers they become](affine.png)

The layer is `{layer}`, a feed-forward layer behind the activation function. Bars: how its
values are distributed (heights are square roots). Green: the integers. Right: some of the values on their steps.

- **Weights, symmetric.** Zero lies in the middle, so $Z = 0$ and one number is enough: $S = \\max|w| / 127$. Each row
  of the matrix has its own. In the row shown $S$ is {row.scale:.4g}, and its largest weight, {minus(f"{example:.4f}")},
  becomes {minus(str(integer))}. The integer −128 stays unused, so that both sides are alike.
- **Activations, asymmetric.** Behind the activation function values are lopsided: here they run from
  {minus(f"{lowest:.2f}")} to {highest:.2f}. A symmetric map would leave most of its negative integers idle, and its
  steps would be {wasteful.scale / wide.scale:.2f} times as wide. So the range starts at the smallest value,
  $S = (\\max - \\min) / {wide.high}$, and $Z = {wide.zero_point}$ keeps zero exact. *Dynamic* quantization takes the
  range from the activations of each call, and clips nothing. The price is that one outlier widens the steps of all:
  in `{worst}` the largest is {float(inputs[worst].max()):.2f}, while 99.9 % are below
  {float(np.quantile(inputs[worst], 0.999)):.2f}.
- **Clipping.** *Static* quantization fixes the range beforehand; what lies beyond it becomes the last integer. Here
  the range ends where 99.9 % of the values do, and {int(clipped.sum())} of {clipped.size:,} values (red) are cut to
  {float(narrow.restore(np.array(narrow.high))):.2f}. In return all others are rounded more finely, with an error of
  {inside_error[0]:.2g} in place of {inside_error[1]:.2g} (root mean square). Over all values, the cut ones included,
  it is {narrow.rms_error(narrowed.values):.2g} against {wide.rms_error(activations.values):.2g}: where to cut is
  a trade. `quantize.static.range` says how it is chosen.
"""


def rounding(weight: np.ndarray, quantized: np.ndarray, scales: np.ndarray) -> str:
    """The section on rounding error; arguments as in figures.weight_histogram."""
    error = quantized * scales - weight
    steps = error / scales
    one_for_all = Affine.symmetric(float(np.abs(weight).max())).rms_error(weight)
    rms = float(np.sqrt(np.mean(error**2)))
    if len(np.unique(scales)) > 1:
        spikes = ", but for the largest weight of each row, which becomes ±127 exactly: hence the spikes"
        scale = (
            "With one scale\nfor the whole matrix, set by its single largest weight, the error would be "
            f"{one_for_all / rms:.1f} times as large;\nhence a scale for each row."
        )
    else:
        spikes, scale = "", "One scale\nserves the whole matrix, set by its single largest weight."
    return f"""## What rounding costs: at most half a step

$$|S q - w| \\le \\frac{{S}}{{2}}, \\qquad \\mathrm{{rms}} \\approx \\frac{{S}}{{\\sqrt{{12}}}} \\approx 0.289 S$$

![The matrix before and after, and the error](weights.png)

The {weight.size:,} weights of the same layer are left with {len(np.unique(quantized))} distinct integers. No error
is larger than {np.abs(steps).max():.3f} of a step, and since the weights fall anywhere between two integers alike,
the errors are spread evenly{spikes}. Their root mean square is {np.sqrt(np.mean(steps**2)):.3f} of a step. That is
{percent(rms / float(np.sqrt(np.mean(weight**2))))} of the root mean square of the weights themselves. {scale}
"""


def storage(
    before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]], files: Sequence[int]
) -> str:
    """The section on size.

    Args:
        before, after: bytes, as primer_figures.storage takes them.
        files: bytes of the two files on disk.
    """

    def mib(count: int) -> str:
        return f"{count / files.MIB:.2f}"

    rows = [
        [part, mib(sum(before[part].values())), *(mib(after[part][kind]) for kind in ("int8", "scales", "float32"))]
        for part in before
    ]
    totals = {kind: sum(kinds[kind] for kinds in after.values()) for kind in ("int8", "scales", "float32")}
    total = sum(sum(kinds.values()) for kinds in before.values())
    rows.append(["all", mib(total), *map(mib, totals.values())])
    small = sum(totals.values())
    weights = total - totals["float32"]
    table = markdown_table(["MiB", "float32", "int8: weights", "int8: scales", "int8: left in float32"], rows)
    return f"""## Storage: four bytes become one

![Bytes by part of the model](storage.png)

{table}

A quantized weight takes one byte where it took four. Scales cost {percent(totals["scales"] / totals["int8"])} on top of
the integers (4 bytes for each row). Biases, normalizations and the small embedding tables stay in float32. So the
tensors shrink {total / small:.2f} times rather than four, those that were quantized
{weights / (totals["int8"] + totals["scales"]):.2f} times, and the file, with its table of contents, goes from
{mib(files[0])} to {mib(files[1])} MiB.
"""


def multiplication(measured: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """The section on speed; `measured` is reports/benchmark.json's "multiply"."""
    rows = [
        [
            tokens,
            f"{row['float32_us']:.0f}",
            f"{row['int8_us']:.0f}",
            "{:.1f} × [{:.1f}, {:.1f}]".format(row["speedup"], *row["speedup_interval"]),
        ]
        for tokens, row in sorted(measured["tokens"].items(), key=lambda item: int(item[0]))
    ]
    table = markdown_table(["tokens", "float32 µs", "int8 µs", "times faster"], rows)
    return f"""## Multiplying in int8

$$\\sum_k f_k w_k \\approx S_f S_w \\sum_k (q_k - Z) p_k$$

An activation is $f_k \\approx S_f (q_k - Z)$, a weight $w_k \\approx S_w p_k$. The sum on the right is of integers
alone; the scales are applied once, at its end. A CPU does four of these
products of bytes in the room of one in float32, and a quarter of the memory has to be read.

![Time of one product](multiply.png)

{table}

Measured by the benchmark on {machine["cpu"]}, {machine["threads"]} thread(s), the two kernels taking turns on the
same matrix ({measured["outputs"]} × {measured["inputs"]}); in brackets the 95 % interval. The int8 time includes the
quantization of the activations. A whole model gains less than one product: attention, normalization and tokenizing
stay as they were.
"""


def temperature(queries: Sequence[Softened], steps: Sequence[float], labels: int) -> str:
    """The section on what the student learns from; steps[0] is 1."""
    sure, torn = queries
    softer = len(steps) // 2
    return f"""## Temperature: what the student sees

$$p_i(T) = \\frac{{\\exp(z_i / T)}}{{\\sum_j \\exp(z_j / T)}}$$

A label says which intent is right. The teacher's logits $z$ also say which of the other {labels - 1} are nearly right,
but a softmax hides it under one large number. Divided by a temperature $T$, the logits come closer together, and
the order of the others shows.

![Probabilities of two validation queries at several temperatures](temperature.png)

Two validation queries. Upper row: one of which the teacher is as sure as of most. `{sure.names[0]}` has
{percent(sure.teacher[0, 0])} at $T = 1$ and {percent(sure.teacher[softer, 0])} at $T = {steps[softer]:g}$; the next,
`{sure.names[1]}`, goes from {percent(sure.teacher[0, 1])} to {percent(sure.teacher[softer, 1])}. Lower row: the one
where the second intent comes closest; `{torn.names[0]}` and `{torn.names[1]}` have {percent(torn.teacher[0, 0])} and
{percent(torn.teacher[0, 1])}. That these two are related is something no label ever said. Diamonds: what the student
answers, after it has learnt from other queries. Each panel has a scale of its own.
"""


def divergence(steps: Sequence[float], pull: Pull) -> str:
    """The section on the loss and on its gradient over the temperature."""
    rows = [
        [f"{step:g}", f"{kl:.4f}", f"{alone:.5f}", f"{both:.4f}"]
        for step, kl, alone, both in zip(steps, *pull, strict=True)
    ]
    table = markdown_table(["T", "KL", "gradient of KL", "gradient of T² · KL"], rows)
    return f"""## The loss, and why it has a T²

$$L = \\alpha \\mathrm{{CE}} + (1 - \\alpha) T^2 \\mathrm{{KL}} \\big(p(T) \\Vert q(T)\\big), \\qquad
\\frac{{\\partial \\mathrm{{KL}}}}{{\\partial z_i}} = \\frac{{q_i(T) - p_i(T)}}{{T}}$$

$p$ is the teacher's distribution, $q$ the student's, $z$ the student's logits. The gradient has a factor $1/T$, and
softer distributions differ less, about by another $1/T$. Without a remedy a higher temperature would quietly mean a
weaker lesson against the cross-entropy, and $\\alpha$ would have to be tuned anew for each $T$.

![Gradient over temperature](gradient.png)

{table}

Mean norms over the validation queries, of the student as it is now. At $T = {steps[-1]:g}$ the gradient of KL has
{percent(pull.plain[-1] / pull.plain[0])} of the norm it has at $T = {steps[0]:g}$; that of $T^2 \\mathrm{{KL}}$ has
{percent(pull.scaled[-1] / pull.scaled[0])}.
"""


def pruning(layer: str, before: np.ndarray | None, after: np.ndarray | None) -> str:
    """The section on pruning; arguments as in primer_figures.pruning."""
    text = """## Pruning: when weights go, and which

$$s(t) = s_\\mathrm{final} \\big(1 - (1 - t)^3\\big)$$

Weights become zero while the model goes on learning. Most go early in the ramp, while many are superfluous; the last
ones go slowly, so that the others have time to take over.

![Pruning](pruning.png)

Magnitude pruning keeps the largest weights, $|w|$. Movement pruning keeps those that training moves away from zero:
it learns a score, $v \\leftarrow v - \\eta w \\partial L / \\partial w$, which grows when the step
$-\\partial L / \\partial w$ has the sign of $w$.
"""
    if before is None or after is None:
        return text
    kept = after != 0
    small = np.abs(before) < np.quantile(np.abs(before), 1 - kept.mean())
    away = np.sign(before) * (after - before) > 0
    share = kept_by_size(before, kept)
    return (
        text
        + f"""
Middle and right: the weights of `{layer}` before and after movement pruning, which left
{percent(kept.mean())} of them. {percent(small[kept].mean())} of those it kept are so small that magnitude pruning of
the student would have dropped them; of the largest twentieth it dropped {percent(1 - share[-1])}.
{percent(away[kept].mean())} of the kept weights ended further from zero than they began (on the outer side of the
diagonal).
"""
    )
