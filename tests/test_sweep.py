"""sweep: what is swept over, and how values of any kind are shown. A whole sweep runs in test_pipeline.py."""

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from stages import sweep


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("distill.alpha=0.1,0.5", True),
        ("distill.alpha=0.1", False),
        ("student.layers=[1,3,5]", False),
        ("student.layers=[1,3,5],[0,2,4]", True),
        ("prune=magnitude,movement", True),
    ],
)
def test_a_list_is_one_value(override: str, expected: bool) -> None:
    assert sweep.swept(override) is expected


@pytest.mark.parametrize(("value", "expected"), [(8.0, "8"), (0.25, "0.25"), ("[1, 3, 5]", "[1, 3, 5]")])
def test_values_are_shown_as_they_are_written(value: object, expected: str) -> None:
    assert sweep.shown(value) == expected


def test_layers_are_drawn_too() -> None:
    table = pd.DataFrame({"experiment": ["a", "b"], "student.layers": ["[1, 3, 5]", "[0, 2, 4]"], "m": [0.5, 0.6]})
    figure = sweep.picture(table, ["student.layers"], "m")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["[1, 3, 5]", "[0, 2, 4]"]
    plt.close(figure)
