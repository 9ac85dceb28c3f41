"""Graphs counted and fused: the same function of fewer operators, its nodes with weights named after the modules."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import nodes_of, product, saved, value
from onnx import helper
from pruning.encoders import KEPT, queries, tiny

from intents.models.encoder import shrink
from intents.onnx.export import export
from intents.onnx.graph import fuse, operators, weight_nodes
from intents.onnx.lean import lean

LAYERS = 3  # of the models of tiny


def names(path: Path) -> list[str]:
    return [node.name for node in weight_nodes(onnx.load(path).graph)]


def logits(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {name: tensor.numpy() for name, tensor in queries().items()})[0]


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, int]]:
    """A graph of BERT before and after fusion, and what was fused."""
    folder = tmp_path_factory.mktemp("graphs")
    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    export(tiny("bert"), plain, 20)
    return plain, fused, fuse(plain, fused)


def test_fused_operators_are_those_of_every_layer_and_stand_in_the_graph(fused: tuple[Path, Path, dict]) -> None:
    plain, path, made = fused
    assert made == {
        "Attention": LAYERS,
        "BiasGelu": LAYERS,
        "LayerNormalization": made["LayerNormalization"],
        "SkipLayerNormalization": 2 * LAYERS,
    } | ({"EmbedLayerNormalization": 1} if "EmbedLayerNormalization" in made else {})
    kinds = Counter(node.op_type for node in nodes_of(path))
    assert {kind: kinds[kind] for kind in made} == made
    assert operators(path) == dict(kinds)
    assert list(operators(path)) == sorted(kinds)
    assert sum(kinds.values()) < len(nodes_of(plain)) / 2


def test_the_function_is_the_same(fused: tuple[Path, Path, dict]) -> None:
    plain, path, _ = fused
    np.testing.assert_allclose(logits(path), logits(plain), atol=1e-5)


def test_nodes_with_weights_are_named_after_their_modules(fused: tuple[Path, Path, dict]) -> None:
    modules = ("attention.self", "attention.output.dense", "intermediate.dense", "output.dense")
    layers = [f"encoder.layer.{layer}.{module}" for layer in range(LAYERS) for module in modules]
    tables = [f"embeddings.{name}_embeddings" for name in ("word", "position", "token_type")]
    found = names(fused[1])
    assert set(found) == {*tables, *layers, "pooler.dense", "classifier"}
    assert [name for name in found if name in layers] == layers


def test_fusing_writes_the_same_bytes_again(fused: tuple[Path, Path, dict], tmp_path: Path) -> None:
    assert fuse(fused[0], tmp_path / "again.onnx") == fused[2]
    assert (tmp_path / "again.onnx").read_bytes() == fused[1].read_bytes()


def test_of_a_graph_without_what_is_looked_for_nothing_is_fused(tmp_path: Path) -> None:
    source = product(tmp_path, np.eye(4, dtype=np.float32))
    assert fuse(source, tmp_path / "fused.onnx") == {}


def test_a_lean_graph_has_its_fused_operators_already(tmp_path: Path) -> None:
    onnx.save(lean(tiny("bert")), tmp_path / "lean.onnx")
    assert fuse(tmp_path / "lean.onnx", tmp_path / "fused.onnx") == {
        "Attention": LAYERS - 1,
        "BiasGelu": LAYERS,
        "FusedMatMul": 1,  # of the last layer, the scores of the first token alone
    }
    assert (tmp_path / "fused.onnx").read_bytes() == (tmp_path / "lean.onnx").read_bytes()


def test_a_model_with_other_heads_in_each_layer_is_fused_too(tmp_path: Path) -> None:
    export(shrink(tiny("bert"), KEPT), tmp_path / "plain.onnx", 20)
    assert fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx")["Attention"] == LAYERS
    np.testing.assert_allclose(logits(tmp_path / "fused.onnx"), logits(tmp_path / "plain.onnx"), atol=1e-4)


def test_nodes_with_weights_multiply_by_a_matrix_or_look_up_its_rows(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "looks_up"),
        helper.make_node("MatMul", ["rows", "matrix"], ["a"], "multiplies"),
        helper.make_node("Add", ["a", "matrix"], ["b"], "adds"),
        helper.make_node("MatMul", ["b", "a"], ["c"], "multiplies_no_weight"),
        helper.make_node("MatMul", ["c", "vector"], ["logits"], "multiplies_a_vector"),
    ]
    weights = {name: np.eye(4, dtype=np.float32) for name in ("table", "matrix")}
    weights["vector"] = np.ones(4, np.float32)
    inputs = [value("ids", 4, kind=onnx.TensorProto.INT64)]
    assert names(saved(tmp_path / "g.onnx", nodes, inputs, value("logits", 4), weights)) == ["looks_up", "multiplies"]
