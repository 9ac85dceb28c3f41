"""sensitivity: what each node costs in int8, ranked, and which nodes had better stay float."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import compose, contents, run
from onnx import TensorProto, helper, numpy_helper, save, shape_inference

from intents.core.errors import PipelineError
from intents.onnx import METHODS, sensitivity
from intents.onnx.common import WeightType
from intents.onnx.static import Calibration, Static
from intents.reports import sensitivity
from stages import sensitivity as stage

SETTINGS = ("ort_quantize=[dynamic,static]", "ort_quantize.static.queries=20")
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


@pytest.mark.parametrize(("allowed", "verdict"), [(0.6, "No node has to stay"), (0.1, "Some nodes have to stay")])
def test_the_verdict_names_what_is_worth_excluding(allowed: float, verdict: str) -> None:
    table, whole = sensitivity.rank(list(ADDITIVE), additive([]), additive)
    figures = sensitivity.summary("student", "static", 2, table, whole, worth=0.25, allowed=allowed)
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


@pytest.mark.parametrize("method", METHODS)
def test_a_node_whose_weights_are_integers_times_a_scale_costs_next_to_nothing(tmp_path: Path, method: str) -> None:
    """x holds 0, ..., 255, so its own rounding is exact; so is that of weights which are all 1 or -1."""
    draw = np.random.default_rng(0)
    weights = {
        "exact": np.where(draw.random((4, 4)) < 0.5, -1, 1).astype(np.float32),
        "rounded": draw.normal(size=(4, 4)).astype(np.float32),
    }
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in ("x", "logits")}
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_product"], name) for name in weights]
    nodes.append(helper.make_node("Add", [f"{name}_product" for name in weights], ["logits"], "sum"))
    initializers = [numpy_helper.from_array(weight, name) for name, weight in weights.items()]
    graph = helper.make_graph(nodes, "g", [value["x"]], [value["logits"]], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    save(shape_inference.infer_shapes(model), tmp_path / "float.onnx")

    x = np.arange(256, dtype=np.float32).reshape(64, 4)
    settings = {
        "weight_type": WeightType["QInt8"],
        "per_channel": True,
        "reduce_range": False,
        "exclude": [],
        "min_agreement": 0.0,
    }
    if METHODS[method] is Static:
        settings |= {
            "symmetric": False,
            "calibration": Calibration["MinMax"],
            "queries": 1,
            "seed": 0,
        }

    write = METHODS[method](**settings).quantizer(tmp_path / "float.onnx", ["all"], lambda _: {"x": x})

    def logits(nodes: Collection[str]) -> np.ndarray:
        write(tmp_path / "int8.onnx", nodes)
        return onnxruntime.InferenceSession(tmp_path / "int8.onnx").run(["logits"], {"x": x})[0]

    expected = x @ weights["exact"] + x @ weights["rounded"]
    table, _ = sensitivity.rank(list(weights), expected, logits)
    assert list(table.index) == ["rounded", "exact"]
    assert table.loc["exact", "max_difference"] < 1e-3
    assert table.loc["rounded", "mean_difference"] > 0.1
    assert table.loc["rounded", "spares"] == pytest.approx(1, abs=1e-3)


def test_the_picture_has_a_bar_for_each_node_the_costliest_on_top() -> None:
    table, _ = sensitivity.rank(list(ADDITIVE), additive([]), additive)
    figure = sensitivity.sensitivity(table, 2, "title")
    logits, answers = figure.axes
    assert [label.get_text() for label in logits.get_yticklabels()] == ["a", "c", "b"]  # from the bottom
    assert [bar.get_width() for bar in logits.patches] == pytest.approx([0.125, 0.25, 0.5])
    assert [bar.get_width() for bar in answers.patches] == [0.0, 0.0, 1.0]  # one of the two queries
    assert "title" in {logits.get_title(loc) for loc in ("left", "center")}  # where the style puts it


# The stage.


@pytest.fixture
def ready(built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with settings for the stage, and float logits that are those of the graph."""
    compose(*overrides, *SETTINGS, "sensitivity.queries=10")
    return built


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_a_row_for_each_node_with_weights_and_the_same_bytes_again(
    ready: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    run(stage, method)
    written = contents(ready / "reports/sensitivity")
    assert {f"{method}.csv", f"{method}.json"} <= set(written)
    table = pd.read_csv(ready / f"reports/sensitivity/{method}.csv", index_col="node")
    modules = ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense")
    layers = [f"encoder.layer.{layer}.{module}" for layer in (0, 1) for module in modules]
    tables = [f"embeddings.{name}_embeddings" for name in ("word", "position", "token_type")]
    assert set(table.index) == {*tables, *layers, "pooler.dense", "classifier"}
    assert len(table) == 13
    assert table["mean_difference"].is_monotonic_decreasing
    assert (table["mean_difference"] > 0).all()
    figures = json.loads((ready / f"reports/sensitivity/{method}.json").read_text())
    assert (figures["model"], figures["method"], figures["queries"]) == ("student", method, 10)
    assert figures["ranking"] == list(table.index)
    assert figures["all"]["mean_difference"] > table["mean_difference"].median()
    run(stage, method)
    assert contents(ready / "reports/sensitivity") == written


def test_all_nodes_together_cost_what_the_deployed_graph_costs(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose_all = Path("params.yaml").read_text().replace("queries: 10\n", "queries: 1000\n")
    Path("params.yaml").write_text(compose_all)
    run(stage, "dynamic")
    figures = json.loads((ready / "reports/sensitivity/dynamic.json").read_text())
    quality = json.loads((ready / "reports/quality/student-ort-dynamic.json").read_text())
    parity = quality["student-ort-dynamic"]["parity"]
    assert figures["queries"] == parity["queries"] == 40
    assert figures["all"] == pytest.approx(
        {
            "changed": 1 - parity["agreement"],
            "mean_difference": parity["mean_logit_difference"],
            "max_difference": parity["max_logit_difference"],
        },
        abs=2e-6,
    )


def test_without_the_float_graph_it_says_what_to_run(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(ready / "reports/sensitivity")
    (ready / "data/onnx/student").rename(ready.parent / "elsewhere")
    with pytest.raises(PipelineError, match="data/onnx/student not found; run `dvc repro onnx-export@student`"):
        run(stage, "static")
    assert contents(ready / "reports/sensitivity") == before


@pytest.mark.parametrize(
    ("setting", "allowed"), [("queries=0", "a whole number, 1 or more"), ("worth=2", "a number from 0 to 1")]
)
@pytest.mark.usefixtures("built")
def test_a_setting_that_cannot_be_is_refused(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, setting: str, allowed: str
) -> None:
    compose(*overrides, *SETTINGS, f"sensitivity.{setting}")
    with pytest.raises(PipelineError, match=f"`sensitivity.{setting.split('=')[0]}` is .*; allowed: {allowed}"):
        run(stage, "static")


@pytest.mark.usefixtures("ready")
def test_an_unknown_method_is_refused_and_the_known_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(stage, "magic")
    error = capsys.readouterr().err
    assert "dynamic" in error
    assert "static" in error
