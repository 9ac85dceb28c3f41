"""A shrunk encoder: what is cut is gone from the matrices, and the rest answers as if it had been silenced."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import contents
from pruning.encoders import KEPT, NEURONS, SIZE, logits_of, queries, silence, tiny
from transformers import AutoConfig, AutoModelForSequenceClassification

from intents.core.errors import PipelineError
from intents.models import checkpoints, encoder
from intents.models.encoder import Kept
from intents.onnx import graph as onnx_graph
from intents.onnx.export import export


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_shrunk_model_answers_as_the_full_one_with_the_rest_silenced(kind: str, attention: str) -> None:
    full = tiny(kind, attention)
    before = logits_of(full)
    silence(full, KEPT)
    expected = logits_of(full)
    shrunk = encoder.shrink(tiny(kind, attention), KEPT)
    assert np.abs(expected - before).max() > 0.1
    np.testing.assert_allclose(logits_of(shrunk), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_weights_that_went_are_those_of_the_units_that_went(kind: str) -> None:
    model = tiny(kind)
    assert encoder.encoder_weights(model) == 3 * (4 * 32 * 32 + 2 * 32 * NEURONS)
    encoder.shrink(model, KEPT)
    assert encoder.encoder_weights(model) == sum(4 * 32 * SIZE * len(h) + 2 * 32 * len(n) for h, n in KEPT)


def test_a_model_can_be_cut_again() -> None:
    once = encoder.shrink(tiny("bert"), [Kept([2], [5, 9])] * 3)
    twice = encoder.shrink(tiny("bert"), [Kept([0, 2, 3], [5, 7, 9])] * 3)
    encoder.shrink(twice, [Kept([1], [0, 2])] * 3)
    np.testing.assert_array_equal(logits_of(once), logits_of(twice))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_saved_and_loaded_it_gives_the_same_logits_and_saved_again_the_same_bytes(
    tmp_path: Path, kind: str, attention: str
) -> None:
    model = encoder.shrink(tiny(kind, attention), KEPT)
    model.save_pretrained(tmp_path / "once")
    loaded = encoder.load_classifier(tmp_path / "once", attention)
    assert not loaded.training
    assert loaded.config._attn_implementation == attention
    np.testing.assert_array_equal(logits_of(loaded), logits_of(model))
    loaded.save_pretrained(tmp_path / "twice")
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


def test_an_ordinary_folder_is_loaded_as_ever(tmp_path: Path) -> None:
    tiny("bert").save_pretrained(tmp_path)
    found = encoder.load_classifier(tmp_path)
    np.testing.assert_array_equal(logits_of(found), logits_of(checkpoints.load_classifier(tmp_path)))


def test_weights_of_other_shapes_than_config_json_says_are_refused(tmp_path: Path) -> None:
    encoder.shrink(tiny("bert"), KEPT).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["kept_per_layer"][0]["heads"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PipelineError, match=r"model.safetensors does not fit `kept_per_layer` of .*size mismatch"):
        encoder.load_classifier(tmp_path)


SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize("kind", ["deberta-v2", "albert"])
def test_an_architecture_that_is_not_known_is_refused(kind: str) -> None:
    config = AutoConfig.for_model(kind, **SMALL, embedding_size=16, intermediate_size=64)
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(PipelineError, match=f"a '{kind}' model has .* takes models built like BERT or DistilBERT"):
        encoder.shrink(model, [Kept([0], [0])])


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_exported_and_fused_it_keeps_each_layers_heads_and_gives_the_same_logits(tmp_path: Path, kind: str) -> None:
    model = encoder.shrink(tiny(kind), KEPT)
    export(model, tmp_path / "plain.onnx", opset=20)
    fused = onnx_graph.fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx")
    assert fused["Attention"] == 3
    attentions = [node for node in onnx.load(tmp_path / "fused.onnx").graph.node if node.op_type == "Attention"]
    heads = [{a.name: a.i for a in node.attribute}["num_heads"] for node in attentions]
    assert heads == [1, 2, 3]
    for name in ("plain", "fused"):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {key: tensor.numpy() for key, tensor in queries().items()})
        np.testing.assert_allclose(found, logits_of(model), atol=1e-4)
