"""What each node costs in int8, ranked, and which nodes had better stay float."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from graphs import SETTINGS, answers, saved, value
from onnx import helper

from intents.onnx import sensitivity

ADDITIVE = {"a": 0.5, "b": 2.0, "c": 1.0}


def additive(nodes: Collection[str]) -> np.ndarray:
    """Logits (2, 2) of a made-up graph in which each node shifts one logit of the first query by its own amount."""
    return np.array([[1.4 + sum(ADDITIVE[node] for node in nodes), 3.0], [5.0, 0.0]])


def test_the_cost_of_a_difference() -> None:
    expected, found = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[2.5, 2.0], [3.0, 0.5]])
    assert sensitivity.cost(expected, found) == {"changed": 0.5, "mean_difference": 0.5, "max_difference": 1.5}


def test_nodes_are_ranked_by_what_each_costs_alone() -> None:
    table, whole = sensitivity.rank(list(ADDITIVE), additive([]), additive)
    assert list(table.index) == ["b", "c", "a"]
    assert list(table["mean_difference"]) == pytest.approx([0.5, 0.25, 0.125])  # one of four logits moves
    assert list(table["max_difference"]) == pytest.approx([2.0, 1.0, 0.5])
    assert list(table["changed"]) == [0.5, 0.0, 0.0]  # from 1.4, only a shift above 1.6 overtakes 3.0
    assert whole == pytest.approx({"changed": 0.5, "mean_difference": 0.875, "max_difference": 3.5})


def test_what_a_spared_node_takes_away() -> None:
    table, _ = sensitivity.rank(list(ADDITIVE), additive([]), additive)
    assert list(table["spares"]) == pytest.approx([2 / 3.5, 1 / 3.5, 0.5 / 3.5])
    assert list(table["spared_changed"]) == [0.0, 0.5, 0.5]
    assert list(table["spared_mean_difference"]) == pytest.approx([1.5 / 4, 2.5 / 4, 3 / 4])


def test_nothing_is_spared_where_nothing_is_lost() -> None:
    table, whole = sensitivity.rank(list(ADDITIVE), additive([]), lambda _: additive([]))
    assert list(table["spares"]) == [0.0, 0.0, 0.0]
    assert whole == {"changed": 0.0, "mean_difference": 0.0, "max_difference": 0.0}


@pytest.mark.parametrize(("allowed", "verdict"), [(0.6, "No node has to stay"), (0.1, "Some nodes have to stay")])
def test_the_verdict_names_what_is_worth_excluding(allowed: float, verdict: str) -> None:
    table, whole = sensitivity.rank(list(ADDITIVE), additive([]), additive)
    figures = sensitivity.summary("half", "static", 2, table, whole, worth=0.25, allowed=allowed)
    assert figures["worth_excluding"] == pytest.approx({"b": 2 / 3.5, "c": 1 / 3.5})
    assert figures["ranking"] == ["b", "c", "a"]
    text = sensitivity.markdown(figures, table, rows=2)
    assert verdict in text
    assert "spares 25% of the mean logit difference (`sensitivity.worth`): `b` (spares 57%), `c` (spares 29%)." in text
    assert "The 2 costliest of 3 nodes:" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `b` | 50.00% | 0.5000 | 2.00 | 57% |",
        "| `c` | 0.00% | 0.2500 | 1.00 | 29% |",
    ]


@pytest.mark.parametrize("method", sorted(SETTINGS))
def test_a_node_whose_weights_are_integers_times_a_scale_costs_next_to_nothing(tmp_path: Path, method: str) -> None:
    """x holds 0, ..., 255, so its own rounding is exact; so is that of weights which are all 1 or -1."""
    draw = np.random.default_rng(0)
    weights = {
        "exact": np.where(draw.random((4, 4)) < 0.5, -1, 1).astype(np.float32),
        "rounded": draw.normal(size=(4, 4)).astype(np.float32),
    }
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_product"], name) for name in weights]
    nodes.append(helper.make_node("Add", [f"{name}_product" for name in weights], ["logits"], "sum"))
    graph = saved(tmp_path / "float.onnx", nodes, [value("x", "rows", 4)], value("logits", "rows", 4), weights)
    x = np.arange(256, dtype=np.float32).reshape(64, 4)
    write = SETTINGS[method]().quantizer(graph, ["all"], lambda _: {"x": x})

    def logits(nodes: Collection[str]) -> np.ndarray:
        write(tmp_path / "int8.onnx", nodes)
        return answers(tmp_path / "int8.onnx", x)

    expected = x @ weights["exact"] + x @ weights["rounded"]
    table, _ = sensitivity.rank(list(weights), expected, logits)
    assert list(table.index) == ["rounded", "exact"]
    assert table.loc["exact", "max_difference"] < 1e-3
    assert table.loc["rounded", "mean_difference"] > 0.1
    assert table.loc["rounded", "spares"] == pytest.approx(1, abs=1e-3)
