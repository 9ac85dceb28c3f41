"""What the techniques have in common: the choice of nodes, and the settings that are in both."""

from pathlib import Path

import numpy as np
import pytest
from graphs import SETTINGS, constants, product, saved, value
from onnx import helper

from intents.core import techniques
from intents.core.errors import PipelineError
from intents.onnx.common import WeightType, included

WEIGHT = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
X = {"x": np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A graph of three products by weights, and of one without."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("MatMul", ["a", "w2"], ["b"], "second"),
        helper.make_node("MatMul", ["b", "x"], ["c"], "no_weight"),
        helper.make_node("Gemm", ["c", "w3"], ["logits"], "third"),
    ]
    weights = {name: np.eye(4, dtype=np.float32) for name in ("w1", "w2", "w3")}
    return saved(tmp_path / "chain.onnx", nodes, [value("x", 4, 4)], value("logits", 4, 4), weights)


def test_there_are_two_techniques() -> None:
    assert techniques.names("intents.onnx") == sorted(SETTINGS)


def test_nodes_with_weights_are_included_in_graph_order_but_for_the_excluded(chain: Path) -> None:
    assert included(chain, [], "key") == ["first", "second", "third"]
    assert included(chain, ["second"], "key") == ["first", "third"]
    assert included(chain, ["third", "first"], "key") == ["second"]


@pytest.mark.parametrize("unknown", ["nothing", "no_weight"])
def test_an_unknown_excluded_node_is_named(chain: Path, unknown: str) -> None:
    with pytest.raises(PipelineError, match=f"`the.key` names '{unknown}'; allowed: first, second, third$"):
        included(chain, ["first", unknown], "the.key")


def test_excluding_every_node_is_refused(chain: Path) -> None:
    with pytest.raises(PipelineError, match=r"`the\.key` names every node, so nothing would be int8; allowed: some of"):
        included(chain, ["third", "second", "first"], "the.key")


def integers(folder: Path, technique: str, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    """The integers and the scales of the weight of a graph of one product, brought to int8."""
    write = SETTINGS[technique](**changes).quantizer(product(folder, WEIGHT), ["query"], lambda _: X)
    write(folder / "int8.onnx", ["product"])
    found = constants(folder / "int8.onnx")
    assert "weight" not in found
    return found["weight_quantized"], found["weight_scale"]


@pytest.mark.parametrize("technique", sorted(SETTINGS))
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_scale_per_channel_or_per_matrix(tmp_path: Path, technique: str, per_channel: bool) -> None:
    weight, scales = integers(tmp_path, technique, per_channel=per_channel)
    assert np.abs(weight).max() == 127
    highest = np.abs(WEIGHT).max(axis=0 if per_channel else None)
    np.testing.assert_allclose(scales.ravel(), np.atleast_1d(highest) / 127, rtol=1e-6)


@pytest.mark.parametrize("technique", sorted(SETTINGS))
@pytest.mark.parametrize("per_channel", [True, False])
def test_a_reduced_range_is_seven_bits_of_weights(tmp_path: Path, technique: str, per_channel: bool) -> None:
    """Without VNNI a CPU sums pairs of products in 16 bits, which those of 8 bits can overflow and of 7 cannot."""
    weight, scales = integers(tmp_path, technique, reduce_range=True, per_channel=per_channel)
    assert np.abs(weight).max() == 64
    # ONNX Runtime lays [-64, 64] over [-max, max].
    highest = np.abs(WEIGHT).max(axis=0 if per_channel else None)
    np.testing.assert_allclose(scales.ravel(), np.atleast_1d(highest) / 64, rtol=1e-6)


@pytest.mark.parametrize("technique", sorted(SETTINGS))
@pytest.mark.parametrize(("kind", "dtype"), [("QInt8", np.int8), ("QUInt8", np.uint8)])
def test_weights_are_of_the_type_asked_for(tmp_path: Path, technique: str, kind: str, dtype: type) -> None:
    assert integers(tmp_path, technique, weight_type=WeightType[kind])[0].dtype == dtype


@pytest.mark.parametrize("technique", sorted(SETTINGS))
def test_nodes_that_are_not_named_keep_their_weights(tmp_path: Path, chain: Path, technique: str) -> None:
    x = {"x": np.arange(16, dtype=np.float32).reshape(4, 4) / 16}
    write = SETTINGS[technique]().quantizer(chain, ["query"], lambda _: x)
    write(tmp_path / "int8.onnx", ["first", "third"])
    kept = constants(tmp_path / "int8.onnx")
    assert {name for name in ("w1", "w2", "w3") if name in kept} == {"w2"}
