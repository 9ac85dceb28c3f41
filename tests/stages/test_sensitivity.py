"""sensitivity: the stage asks every node of the fused graph, and its verdict is that of the deployed graph."""

from pathlib import Path

import numpy as np
import pandas as pd
import part
import pytest
from conftest import compose, contents, run
from made import logits_of, read
from safetensors.numpy import load_file

from intents.core.errors import PipelineError
from stages import sensitivity as stage

METHODS = ("dynamic", "static")


@pytest.fixture
def half(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the graph of the student `half`; what the stage says is not there yet."""
    folder = part.copy(built_once, tmp_path / "project", "half-onnx")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("reading")
def test_there_is_a_row_for_each_node_with_weights(method: str) -> None:
    table = pd.read_csv(f"reports/sensitivity/{method}.csv", index_col="node")
    modules = ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense")
    layers = [f"encoder.layer.{layer}.{module}" for layer in (0, 1) for module in modules]
    tables = [f"embeddings.{name}_embeddings" for name in ("word", "position", "token_type")]
    assert set(table.index) == {*tables, *layers, "head.linear"}
    assert len(table) == 12
    assert table["mean_difference"].is_monotonic_decreasing
    assert (table["mean_difference"] > 0).all()
    figures = read(f"reports/sensitivity/{method}.json")
    assert (figures["model"], figures["method"], figures["queries"]) == ("half", method, 10)
    assert figures["ranking"] == list(table.index)
    assert figures["all"]["mean_difference"] > table["mean_difference"].median()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_again_gives_the_same_bytes(half: Path, built_once: Path, method: str) -> None:
    run(stage, method)
    written = contents(half / "reports/sensitivity")
    assert set(written) == {f"{method}.csv", f"{method}.json"}
    assert written.items() <= contents(built_once / "reports/sensitivity").items()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("half")
def test_all_nodes_together_cost_what_the_deployed_graph_costs(
    overrides: list[str], built_once: Path, method: str
) -> None:
    compose(*overrides, "sensitivity.queries=1000")
    run(stage, method)
    figures = read(f"reports/sensitivity/{method}.json")
    theirs = logits_of("half-onnx")["validation"]
    ours = load_file(built_once / f"data/logits/half-ort-{method}.safetensors")["validation"]
    assert figures["queries"] == 40
    assert figures["all"] == pytest.approx(
        {
            "changed": (theirs.argmax(axis=1) != ours.argmax(axis=1)).mean(),
            "mean_difference": np.abs(theirs - ours).mean(),
            "max_difference": np.abs(theirs - ours).max(),
        },
        abs=2e-6,
    )


@pytest.mark.usefixtures("half")
def test_what_the_method_excludes_is_asked_all_the_same(overrides: list[str]) -> None:
    run(stage, "dynamic")
    before = contents(Path("reports"))
    compose(*overrides, "ort_quantize.dynamic.exclude=[head.linear]")
    run(stage, "dynamic")
    assert contents(Path("reports")) == before


@pytest.mark.usefixtures("half")
def test_the_queries_are_drawn_anew_with_another_seed(overrides: list[str]) -> None:
    run(stage, "dynamic")
    before = read("reports/sensitivity/dynamic.json")["all"]
    compose(*overrides, "sensitivity.seed=1")
    run(stage, "dynamic")
    assert read("reports/sensitivity/dynamic.json")["all"] != before


@pytest.mark.usefixtures("half")
def test_what_may_change_and_what_is_worth_excluding_are_those_of_the_settings(overrides: list[str]) -> None:
    compose(*overrides, "sensitivity.worth=0", "ort_quantize.dynamic.min_agreement=0.75")
    run(stage, "dynamic")
    figures = read("reports/sensitivity/dynamic.json")
    table = pd.read_csv("reports/sensitivity/dynamic.csv", index_col="node")
    assert figures["allowed"] == 0.25
    assert set(figures["worth_excluding"]) == set(table.index[table["spares"] >= 0])


@pytest.mark.parametrize(
    ("setting", "allowed"), [("queries=0", "a whole number, 1 or more"), ("worth=2", "a number from 0 to 1")]
)
def test_a_setting_that_cannot_be_is_refused(project: Path, overrides: list[str], setting: str, allowed: str) -> None:
    compose(*overrides, f"sensitivity.{setting}")
    with pytest.raises(PipelineError, match=f"`sensitivity.{setting.split('=')[0]}` is .*; allowed: {allowed}"):
        run(stage, "static")


@pytest.mark.usefixtures("project")
def test_an_unknown_method_is_refused_and_the_known_named() -> None:
    with pytest.raises(PipelineError, match=r"'magic' is no technique of intents\.onnx; allowed: dynamic, static"):
        run(stage, "magic")
