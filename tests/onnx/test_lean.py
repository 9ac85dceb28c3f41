"""The lean graph: PyTorch's logits from fewer nodes, and int8 by the same quantizers as any graph."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from intents.core.errors import PipelineError
from intents.onnx import dynamic, static
from intents.onnx.common import WeightType
from intents.onnx.export import export
from intents.onnx.graph import fuse, weight_nodes
from intents.onnx.lean import lean
from intents.onnx.static import Calibration

LENGTHS = [7, 1, 4]
FIRST = 3  # the token that queries begin with
TECHNIQUES = {
    "dynamic": dynamic.Settings(
        weight_type=WeightType.QInt8, per_channel=True, reduce_range=False, exclude=[], min_agreement=0.9
    ),
    "static": static.Settings(
        weight_type=WeightType.QInt8,
        per_channel=True,
        reduce_range=False,
        exclude=[],
        min_agreement=0.9,
        symmetric=False,
        calibration=Calibration.MinMax,
        queries=20,
        seed=0,
    ),
}


def classifier(layers: int = 2, **settings: object) -> BertForSequenceClassification:
    """Random weights everywhere, biases and normalizations too: what is left out of the graph would show."""
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=16,
        num_labels=5,
        **settings,
    )
    model = BertForSequenceClassification._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


def queries() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [np.int32([[FIRST, *draw.integers(1, 50, length - 1)]]) for length in LENGTHS]


def logits(graph: onnx.ModelProto | Path, **inputs: np.ndarray) -> np.ndarray:
    source = str(graph) if isinstance(graph, Path) else graph.SerializeToString()
    return onnxruntime.InferenceSession(source).run(["logits"], inputs)[0]


def torch_logits(model: BertForSequenceClassification, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(ids), None if mask is None else torch.tensor(mask)).logits.numpy()


@pytest.mark.parametrize("first", [None, FIRST])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_logits_are_pytorchs(layers: int, first: int | None) -> None:
    model = classifier(layers)
    graph = lean(model, first=first)
    pair = np.concatenate([queries()[0], np.roll(queries()[0], 1)])
    pair[1, 0] = FIRST
    for ids in [*queries(), pair]:
        np.testing.assert_allclose(logits(graph, input_ids=ids), torch_logits(model, ids), atol=1e-5)


@pytest.mark.parametrize("first", [None, FIRST])
@pytest.mark.parametrize("layers", [1, 2])
def test_with_a_mask_a_padded_batch_gives_the_answers_of_each_query_alone(layers: int, first: int | None) -> None:
    model = classifier(layers)
    ids, mask = np.zeros((3, 7), np.int32), np.zeros((3, 7), np.int32)
    for row, query in enumerate(queries()):
        ids[row, : query.size], mask[row, : query.size] = query[0], 1
    found = logits(lean(model, first=first, masked=True), input_ids=ids, attention_mask=mask)
    np.testing.assert_allclose(found, torch_logits(model, ids, mask), atol=1e-5)
    np.testing.assert_allclose(found, np.concatenate([torch_logits(model, query) for query in queries()]), atol=1e-5)


def test_any_token_may_be_the_first_unless_one_is_named() -> None:
    model, other = classifier(1), queries()[0]
    other[0, 0] = FIRST + 1
    np.testing.assert_allclose(logits(lean(model), input_ids=other), torch_logits(model, other), atol=1e-5)
    assert np.abs(logits(lean(model, first=FIRST), input_ids=other) - torch_logits(model, other)).max() > 1e-2


def test_with_one_layer_and_its_first_token_known_no_keys_are_computed() -> None:
    def numbers(**options: int) -> int:
        held = lean(classifier(1), **options).graph.initializer
        return sum(int(np.prod(tensor.dims)) for tensor in held)

    matrix, heads = 24 * 24, 4
    biases = 2 * heads * 24 - heads * 24  # the query's bias, and what picks each head's part of it, give way to queries
    saved = numbers() - numbers(first=FIRST)
    assert 2 * matrix - heads * 24 < saved < 2 * matrix + biases


@pytest.mark.parametrize("layers", [1, 2])
def test_a_session_leaves_the_normalizations_as_they_are(layers: int, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # a warning that the file is for this machine
    onnxruntime.InferenceSession(lean(classifier(layers), first=FIRST).SerializeToString(), options)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["LayerNormalization"] == 1 + 2 * layers
    assert "SkipLayerNormalization" not in kinds


def test_nodes_with_weights_are_named_as_in_the_fused_graph(tmp_path: Path) -> None:
    model = classifier()
    export(model, tmp_path / "plain.onnx", opset=20)
    fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx")
    fused, made = onnx.load(tmp_path / "fused.onnx").graph, lean(model).graph
    old, new = ({node.name for node in weight_nodes(graph)} for graph in (fused, made))
    # Token types are in the positions, which are cut off rather than looked up; attention of the last layer parts.
    assert old - new == {
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
        "encoder.layer.1.attention.self",
    }
    assert new - old == {f"encoder.layer.1.attention.self.{part}" for part in ("query", "key", "value")}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
def test_every_weight_node_becomes_int8(technique: str, layers: int, tmp_path: Path) -> None:
    model = classifier(layers)
    onnx.save(lean(model, first=FIRST), tmp_path / "lean.onnx")
    names = [node.name for node in weight_nodes(onnx.load(tmp_path / "lean.onnx").graph)]
    draw = np.random.default_rng(1)
    training = ["query"] * 20
    write = TECHNIQUES[technique].quantizer(
        tmp_path / "lean.onnx", training, lambda _: {"input_ids": np.int32([[FIRST, *draw.integers(1, 50, 5)]])}
    )
    write(tmp_path / "int8.onnx", names)
    floats = {
        tensor.name: tensor.dims
        for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    }
    assert not floats
    for ids in queries():
        expected = torch_logits(model, ids)
        np.testing.assert_allclose(logits(tmp_path / "int8.onnx", input_ids=ids), expected, atol=0.1 * expected.std())


def test_other_models_are_refused() -> None:
    other = DistilBertForSequenceClassification(DistilBertConfig(dim=8, n_heads=2, n_layers=1, hidden_dim=8))
    with pytest.raises(PipelineError, match=r"lean graph of DistilBertForSequenceClassification .* allowed: Bert"):
        lean(other)  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="with relu activation"):
        lean(classifier(hidden_act="relu"))
