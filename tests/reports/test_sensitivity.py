"""The picture of what each node costs in int8."""

import pandas as pd
import pytest

from intents.reports.sensitivity import sensitivity


def test_the_picture_has_a_bar_for_each_node_the_costliest_on_top() -> None:
    table = pd.DataFrame({"mean_difference": [0.5, 0.25, 0.125], "changed": [0.5, 0.0, 0.0]}, index=["b", "c", "a"])
    figure = sensitivity(table, 2, "title")
    logits, answers = figure.axes
    assert [label.get_text() for label in logits.get_yticklabels()] == ["a", "c", "b"]  # from the bottom
    assert [bar.get_width() for bar in logits.patches] == pytest.approx([0.125, 0.25, 0.5])
    assert [bar.get_width() for bar in answers.patches] == [0.0, 0.0, 1.0]  # one of the two queries
    assert "title" in {logits.get_title(loc) for loc in ("left", "center")}  # where the style puts it
