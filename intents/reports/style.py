"""How every picture looks, and how it is written."""

from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from intents.core import files
from intents.core.variants import Form, parse

matplotlib.use("Agg")

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#7A7A7A", "#D55E00"
FORMS = {Form.TORCH: GREY, Form.TORCH_INT8: ORANGE, Form.ONNX: BLUE, Form.ORT: GREEN, Form.PEER: RED}

STYLE = {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
}


def colour(variant: str) -> str:
    """The colour of a variant's form, by the variant's name."""
    return FORMS[parse(variant).form]


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG and close it. The file has the same bytes for the same figure."""
    with files.new_file(path) as scratch:
        figure.savefig(scratch, dpi=dpi, format="png", metadata={"Software": None})
    plt.close(figure)
