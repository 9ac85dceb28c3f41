"""tradeoff: no label covers another, those that matter most are there, and the picture is the same each time."""

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text

from intents.reports import tradeoff

MODELS = ("teacher", "half", "labels", "narrow", "half-structured")
FORMS = ("", "-torch-dynamic", "-torch-static", "-onnx", "-ort-dynamic", "-ort-static")
NAMES = [f"{model}{form}" for form in FORMS for model in MODELS]
BEST = "half-ort-static"


def crowded(spread: float) -> pd.DataFrame:
    """30 variants, those of a form within `spread` (a share) of one latency and of one accuracy."""
    draw = np.random.default_rng(0)
    milliseconds = np.repeat([6.0, 2.7, 2.7, 2.3, 0.9, 0.9], len(MODELS))
    return pd.DataFrame(
        {
            "p50_ms": milliseconds * (1 + spread * draw.normal(size=len(NAMES))),
            "accuracy_with_rule": 0.92 * (1 - 0.1 * spread * np.abs(draw.normal(size=len(NAMES)))),
            "size_mb": np.repeat([66.6, 17.4, 17.4, 66.6, 16.8, 16.8], len(MODELS)),
            "pareto": [name in (BEST, "half-ort-dynamic", "half-torch-static") for name in NAMES],
        },
        index=NAMES,
    )


@cache
def drawn(spread: float) -> Figure:
    """The picture of a crowd, drawn once for the tests that look at it: labels take seconds to find their places."""
    return tradeoff.tradeoff(crowded(spread), BEST)


def labels(figure: Figure) -> list[Text]:
    return [text for text in figure.axes[0].texts if "MiB" in text.get_text()]


def names(figure: Figure) -> list[str]:
    return [text.get_text().split("\n")[0] for text in labels(figure)]


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.3])
def test_no_label_covers_another_in_a_crowd(spread: float) -> None:
    figure = drawn(spread)
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in labels(figure)}
    assert [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])] == []
    assert len(boxes) >= 12


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_the_best_has_its_label_whatever_the_crowd_and_none_leaves_the_picture(spread: float) -> None:
    figure = drawn(spread)
    assert BEST in names(figure)
    figure.draw_without_rendering()
    inside = figure.bbox
    for text in labels(figure):
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, text
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, text


def test_where_there_is_room_every_variant_has_its_label() -> None:
    table = crowded(0.0).iloc[::6].copy()
    table["p50_ms"] = np.geomspace(0.5, 12, len(table))
    table["accuracy_with_rule"] = np.linspace(0.88, 0.93, len(table))
    figure = tradeoff.tradeoff(table, None)
    assert sorted(names(figure)) == sorted(table.index)
    assert {text.get_text().split("\n")[1] for text in labels(figure)} == {f"{s:.1f} MiB" for s in table["size_mb"]}


def test_a_label_that_found_no_room_leaves_no_line_behind() -> None:
    figure = drawn(0.0)
    assert len(labels(figure)) < len(NAMES)  # or this shows nothing
    lines = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert {line.patchA for line in lines} <= set(labels(figure))


def test_the_same_table_gives_the_same_places() -> None:
    first, second = (
        {text.get_text(): text.get_position() for text in labels(tradeoff.tradeoff(crowded(0.1), BEST))} for _ in "ab"
    )
    assert first == second


def test_the_best_is_ringed_and_the_front_dotted() -> None:
    table = crowded(0.3)
    bubbles, front, ring = drawn(0.3).axes[0].collections
    assert len(bubbles.get_offsets()) == len(table)
    assert np.asarray(front.get_offsets()) == pytest.approx(
        table[table["pareto"]][["p50_ms", "accuracy_with_rule"]].to_numpy()
    )
    assert np.asarray(ring.get_offsets()[0]) == pytest.approx(
        table.loc[BEST, ["p50_ms", "accuracy_with_rule"]].to_numpy(float)
    )
    assert len(tradeoff.tradeoff(table, None).axes[0].collections) == 2


def test_sizes_are_bars_from_the_smallest_with_compressed_ones_marked() -> None:
    table = crowded(0.1).loc[["teacher", "half-ort-static", "half-torch-static", "half-onnx"]]
    axes = tradeoff.sizes(table, {"teacher": 60.0}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == sorted(table["size_mb"])
    assert [text.get_text() for text in axes.texts if "compressed" in text.get_text()] == ["66.6  (60.0 compressed)"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        *("PyTorch float32", "PyTorch int8", "ONNX float32", "ONNX int8")
    ]
