"""ort-quantize: the graph fused and in int8, and the answers that it gives."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from conftest import MODELS, contents
from graphs import constants, float_products, nodes_of
from made import LABELS, figures, logits_of, texts

from intents.serving.classifier import OnnxModel

METHODS = ("dynamic", "static")
FLOAT = Path("models/half-onnx/model.onnx")
# Of each layer query, key and value at once, the attention's output, and two of the feed-forward layer; and the head.
PRODUCTS = 4 * 2 + 1


def graph_of(model: str, method: str) -> Path:
    return Path(f"models/{model}-ort-{method}/model.onnx")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("model", "layers"), [("teacher", 4), ("half", 2), ("half-movement", 2)])
@pytest.mark.usefixtures("reading")
def test_fused_operators_are_those_of_every_layer_and_stand_in_the_graph(model: str, layers: int, method: str) -> None:
    said = figures(f"{model}-ort-{method}")
    fused = said["fused_operators"]
    assert (fused["Attention"], fused["BiasGelu"], fused["SkipLayerNormalization"]) == (layers, layers, 2 * layers)
    operators = [node.op_type for node in nodes_of(graph_of(model, method))]
    assert said["operators"] == {name: operators.count(name) for name in set(operators)}
    for name, count in fused.items():
        assert count == operators.count(name) + operators.count(f"Q{name}")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("reading")
def test_a_lean_graph_has_its_fused_operators_and_they_become_int8_too(method: str) -> None:
    fused = {"Attention": 1, "BiasGelu": 2, "FusedMatMul": 1}
    assert figures(f"narrow-ort-{method}")["fused_operators"] == fused
    assert float_products("models/narrow-onnx/model.onnx")
    assert float_products(graph_of("narrow", method)) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("reading")
def test_no_weight_matrix_stays_in_float(method: str) -> None:
    assert len(float_products(FLOAT)) == 6 * 2 + 1
    assert float_products(graph_of("half", method)) == []
    tables = {name: array for name, array in constants(graph_of("half", method)).items() if "embeddings.weight" in name}
    assert [array.dtype for name, array in tables.items() if array.ndim == 2] == [np.uint8] * 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("reading")
def test_answers_agree_with_the_float_graphs_though_the_logits_differ(model: str, method: str) -> None:
    theirs, ours = (logits_of(f"{model}-{form}")["validation"] for form in ("onnx", f"ort-{method}"))
    assert (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean() >= 0.5
    assert 0 < np.abs(theirs - ours).mean() < 0.2 * np.abs(theirs).mean()
    right = ours.argmax(axis=1) == LABELS
    assert figures(f"{model}-ort-{method}")["validation"] == {"accuracy": pytest.approx(right.mean(), abs=1e-6)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("reading")
def test_the_folder_serves_by_itself_and_gives_the_cached_logits(method: str) -> None:
    folder = graph_of("half", method).parent
    assert set(contents(folder)) == {"model.onnx", "tokenizer.json"}
    model, cached = OnnxModel(folder), logits_of(folder.name)
    assert set(cached) == {"validation", "test"}
    for text, logits in zip(texts("test"), cached["test"], strict=True):
        np.testing.assert_array_equal(model.logits(text), logits)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("reading")
def test_the_file_is_a_third_of_the_float_graphs(method: str) -> None:
    assert graph_of("half", method).stat().st_size < FLOAT.stat().st_size / 3


@pytest.mark.usefixtures("reading")
def test_products_by_weights_run_in_integer_kernels(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # a warning that the file is for this machine
    onnxruntime.InferenceSession(graph_of("half", "static"), options, providers=["CPUExecutionProvider"])
    run_as = Counter(node.op_type for node in nodes_of(options.optimized_model_filepath))
    assert run_as["QAttention"] == 2  # query, key and value of each layer at once
    assert run_as["MatMulIntegerToFloat"] == PRODUCTS - 2
    floats = ("MatMul", "FusedMatMul", "Gemm", "Attention", "DynamicQuantizeLinear", "DynamicQuantizeMatMul")
    assert [run_as[kind] for kind in floats] == [0] * len(floats)


@pytest.mark.usefixtures("reading")
def test_a_fixed_range_leaves_the_answers_of_a_batch_as_they_are() -> None:
    """With a range that is measured in each call, the other queries and the padding have a say in it."""
    queries = texts("validation")[:32]
    differences = {}
    for method in METHODS:
        model = OnnxModel(graph_of("half", method).parent)
        alone = logits_of(f"half-ort-{method}")["validation"][:32]
        differences[method] = np.abs(model.logits_padded(queries) - alone).max()
    assert figures("half-ort-static")["flipped_in_padded_batches"] == 0.0
    assert differences["static"] < differences["dynamic"] / 10
