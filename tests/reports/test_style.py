"""style: a colour for each form, and pictures that are the same file for the same figure."""

from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from intents.reports import style


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("teacher", style.GREY),
        ("half-structured", style.GREY),
        ("half-qat-torch-static", style.ORANGE),
        ("half-movement-onnx", style.BLUE),
        ("half-ort-dynamic", style.GREEN),
    ],
)
def test_a_variant_has_the_colour_of_its_form(variant: str, expected: str) -> None:
    assert style.colour(variant) == expected


def test_a_figure_is_written_whole_and_closed(tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        figure, axes = plt.subplots(figsize=(2, 1))
        axes.plot([1, 2])
        style.save(figure, tmp_path / f"{name}.png", 50)
        assert not plt.fignum_exists(figure.number)
        written.append((tmp_path / f"{name}.png").read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
