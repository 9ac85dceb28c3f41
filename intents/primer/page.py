"""The numbers on the primer's page. Its text is in templates/; each function gives what one section tells of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intents.core import files
from intents.primer import movement
from intents.primer.affine import Affine
from intents.primer.layer import OUTLIERS, Layer
from intents.primer.softening import Pull, Softened
from intents.primer.tensors import KINDS
from intents.reports.markdown import render, table

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the page tells of."""

    layer: Layer
    before: Mapping[str, Mapping[str, int]]  # bytes by part and kind, as figures.storage takes them,
    after: Mapping[str, Mapping[str, int]]  # of the float32 model and of the int8 one
    on_disk: Sequence[int]  # bytes of their files
    multiply: Mapping[str, Any]  # times of a product, as in reports/latency.json,
    machine: Mapping[str, Any]  # and the machine
    temperatures: Sequence[float]  # the first is 1
    queries: Sequence[Softened]  # two
    pull: Pull
    labels: int  # how many there are
    pair: tuple[np.ndarray, np.ndarray] | tuple[None, None]  # the layer's matrix before and after movement pruning


def write(told: Told) -> str:
    """The page."""
    return render(
        "page.md.j2",
        TEMPLATES,
        told=told,
        layer=told.layer.name,
        affine=affine_map(told.layer),
        rounding=rounding(told.layer),
        storage=storage(told.before, told.after, told.on_disk),
        times=times(told.multiply),
        gradients=gradients(told.temperatures, told.pull),
        pruning=pruning(*told.pair),
    )


def affine_map(layer: Layer) -> dict[str, Any]:
    """The numbers on scale, zero point and clipping."""
    weights, activations, narrowed = layer.maps()
    row, wide, narrow = weights.affine, activations.affine, narrowed.affine
    values = layer.given
    lowest, highest = float(values.min()), float(values.max())
    clipped = narrow.clipped(values)
    below = {name: float(np.quantile(given, OUTLIERS)) for name, given in layer.inputs.items()}
    worst = max(below, key=lambda name: float(layer.inputs[name].max()) / below[name])
    biggest = int(np.abs(weights.values).argmax())
    return {
        "row_scale": row.scale,
        "weight": float(weights.values[biggest]),  # the largest of the row
        "integer": int(row.quantize(weights.values)[biggest]),
        "lowest": lowest,
        "highest": highest,
        "symmetric_step": Affine.symmetric(max(-lowest, highest)).scale / wide.scale,
        "last": wide.high,
        "zero_point": wide.zero_point,
        "worst": worst,
        "worst_largest": float(layer.inputs[worst].max()),
        "worst_below": below[worst],
        "clipped": int(clipped.sum()),
        "activations": clipped.size,
        "cut_to": float(narrow.restore(np.array(narrow.high))),
        "inside": {"narrow": narrow.rms_error(values[~clipped]), "wide": wide.rms_error(values[~clipped])},
        "all": {"narrow": narrow.rms_error(values), "wide": wide.rms_error(values)},
    }


def rounding(layer: Layer) -> dict[str, Any]:
    """The numbers on the error of rounding."""
    error = layer.quantized * layer.scales - layer.weight
    steps = error / layer.scales
    rms = float(np.sqrt(np.mean(error**2)))
    return {
        "weights": layer.weight.size,
        "integers": len(np.unique(layer.quantized)),
        "by_row": len(np.unique(layer.scales)) > 1,
        "largest": float(np.abs(steps).max()),
        "rms_steps": float(np.sqrt(np.mean(steps**2))),
        "share": rms / float(np.sqrt(np.mean(layer.weight**2))),
        "one_for_all": Affine.symmetric(float(np.abs(layer.weight).max())).rms_error(layer.weight) / rms,
    }


def storage(
    before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]], on_disk: Sequence[int]
) -> dict[str, Any]:
    """The numbers on size.

    Args:
        before, after: bytes, as figures.storage takes them.
        on_disk: bytes of the two files.
    """

    def mib(count: int) -> str:
        return f"{count / files.MIB:.2f}"

    rows = [[part, mib(sum(before[part].values())), *(mib(after[part][kind]) for kind in KINDS)] for part in before]
    totals = {kind: sum(kinds[kind] for kinds in after.values()) for kind in KINDS}
    total = sum(sum(kinds.values()) for kinds in before.values())
    rows.append(["all", mib(total), *map(mib, totals.values())])
    header = ["MiB", "float32", "int8: weights", "int8: scales", "int8: left in float32"]
    return {
        "table": table(header, rows),
        "scales": totals["scales"] / totals["int8"],
        "smaller": total / sum(totals.values()),
        "quantized_smaller": (total - totals["float32"]) / (totals["int8"] + totals["scales"]),
        "files": [mib(count) for count in on_disk],
    }


def times(measured: Mapping[str, Any]) -> str:
    """The table of times; `measured` is "multiply" of reports/latency.json."""
    rows = [
        [
            tokens,
            f"{row['float32_us']:.0f}",
            f"{row['int8_us']:.0f}",
            "{:.1f} × [{:.1f}, {:.1f}]".format(row["speedup"], *row["speedup_interval"]),
        ]
        for tokens, row in sorted(measured["tokens"].items(), key=lambda item: int(item[0]))
    ]
    return table(["tokens", "float32 µs", "int8 µs", "times faster"], rows)


def gradients(steps: Sequence[float], pull: Pull) -> str:
    """The table of losses and gradients over the temperature."""
    rows = [
        [f"{step:g}", f"{kl:.4f}", f"{alone:.5f}", f"{both:.4f}"]
        for step, kl, alone, both in zip(steps, *pull, strict=True)
    ]
    return table(["T", "KL", "gradient of KL", "gradient of T² · KL"], rows)


def pruning(before: np.ndarray | None, after: np.ndarray | None) -> movement.Kept | None:
    """The numbers on movement pruning; arguments as in figures.pruning."""
    return None if before is None or after is None else movement.told(before, after)
