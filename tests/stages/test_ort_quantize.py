"""ort-quantize: the graph fused and in int8; refused where fusion or the agreement fails."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import part
import pytest
from conftest import MODELS, compose, contents, run
from graphs import constants, float_products, nodes_of, saved, value
from made import LABELS, figures, logits_of, texts
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from intents.core.errors import PipelineError
from intents.onnx.common import included
from intents.onnx.graph import fuse
from intents.serving.classifier import OnnxModel
from stages import ort_quantize

METHODS = ("dynamic", "static")
FLOAT = Path("models/half-onnx/model.onnx")
# Of each layer query, key and value at once, the attention's output, and two of the feed-forward layer; and the head.
PRODUCTS = 4 * 2 + 1


@pytest.fixture
def half(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the graph of the student `half`, in float and in int8, to be changed."""
    folder = part.copy(built_once, tmp_path / "project", "half-onnx", *(f"half-ort-{method}" for method in METHODS))
    monkeypatch.chdir(folder)
    return folder


def graph_of(model: str, method: str) -> Path:
    return Path(f"models/{model}-ort-{method}/model.onnx")


def refused(message: str, *arguments: str) -> None:
    """The stage fails with that message, and every file is as before."""
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(ort_quantize, *(arguments or ("half", "dynamic")))
    assert contents(Path()) == before


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
    fused = {"Attention": 1, "BiasGelu": 2, "MultiHeadAttention": 1}
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("half")
def test_the_same_again_gives_the_same_bytes(method: str) -> None:
    before = contents(Path())
    run(ort_quantize, "half", method)
    assert contents(Path()) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("half")
def test_settings_reach_the_graph(overrides: list[str], method: str) -> None:
    def weights() -> dict[str, np.ndarray]:
        found = constants(graph_of("half", method))
        ending = "_quantized"
        return {name: array for name, array in found.items() if name.endswith(ending) and "embeddings" not in name}

    def scales() -> set[int]:
        found = constants(graph_of("half", method))
        return {array.size for name, array in found.items() if name.endswith("head.linear.weight_Transposed_scale")}

    before = weights()
    assert len(before) == PRODUCTS
    assert {array.dtype for array in before.values()} == {np.dtype(np.int8)}
    assert max(np.abs(array.astype(int)).max() for array in before.values()) == 127
    assert scales() == {4}  # one per intent
    changes = ("weight_type=QUInt8", "reduce_range=true", "per_channel=false")
    compose(*overrides, *(f"ort_quantize.{method}.{change}" for change in changes))
    run(ort_quantize, "half", method)
    assert {array.dtype for array in weights().values()} == {np.dtype(np.uint8)}
    assert max(array.max() for array in weights().values()) <= 128  # 7 bits
    assert scales() == {1}


@pytest.mark.usefixtures("half")
def test_symmetric_ranges_of_the_activations_reach_the_graph(overrides: list[str]) -> None:
    def zeros() -> list[int]:
        found = constants(graph_of("half", "static"))
        ranges = [name.removesuffix("_zero_point") for name, array in found.items() if name.endswith("_zero_point")]
        return [int(found[f"{name}_zero_point"]) for name in ranges if f"{name}_quantized" not in found]

    assert len(zeros()) == PRODUCTS
    assert len(set(zeros())) > 1
    compose(*overrides, "ort_quantize.static.symmetric=true")
    run(ort_quantize, "half", "static")
    assert len(zeros()) == PRODUCTS
    assert set(zeros()) <= {127, 128}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("half")
def test_excluded_nodes_stay_float(overrides: list[str], method: str) -> None:
    excluded = ["encoder.layer.1.output.dense", "head.linear"]
    compose(*overrides, f"ort_quantize.{method}.exclude=[{','.join(excluded)}]")
    run(ort_quantize, "half", method)
    assert float_products(graph_of("half", method)) == excluded


@pytest.mark.usefixtures("half")
def test_an_unknown_excluded_node_is_named(overrides: list[str]) -> None:
    compose(*overrides, "ort_quantize.dynamic.exclude=[head.linear,nothing]")
    refused("`ort_quantize.dynamic.exclude` names 'nothing'; allowed: embeddings.word_embeddings, .*, head.linear")


@pytest.mark.usefixtures("half")
def test_excluding_every_node_is_refused(overrides: list[str], tmp_path: Path) -> None:
    fuse(FLOAT, tmp_path / "fused.onnx")
    everything = ",".join(included(tmp_path / "fused.onnx", [], ""))
    compose(*overrides, f"ort_quantize.dynamic.exclude=[{everything}]")
    refused("`ort_quantize.dynamic.exclude` names every node, so nothing would be int8; allowed: some of")


@pytest.mark.usefixtures("half")
def test_too_little_agreement_with_the_float_graph_writes_nothing() -> None:
    cached = logits_of("half-onnx")
    save_file({split: -logits for split, logits in cached.items()}, "data/logits/half-onnx.safetensors")
    refused(r"agrees with half-onnx on .* `ort_quantize.dynamic.min_agreement` asks for 50.00%: it was not written")


@pytest.mark.usefixtures("half")
def test_a_graph_in_which_nothing_can_be_fused_is_refused() -> None:
    names = ("input_ids", "attention_mask")
    nodes = [
        helper.make_node("Add", list(names), ["sum"]),
        helper.make_node("Cast", ["sum"], ["logits"], to=TensorProto.FLOAT),
    ]
    inputs = [value(name, "batch", "sequence", kind=TensorProto.INT64) for name in names]
    saved(FLOAT, nodes, inputs, value("logits", "batch", "sequence"))
    refused("fusion made no fused operator in models/half-onnx/model.onnx")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("models/half-onnx", "models/half-onnx not found; run `dvc repro onnx-export@half`"),
        ("data/logits/half-onnx.safetensors", "not found; run `dvc repro onnx-export@half`"),
        ("data/clinc", "not found; run `dvc repro fetch-clinc`"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run(half: Path, gone: str, message: str) -> None:
    (half / gone).rename(half.parent / "elsewhere")
    refused(message)


@pytest.mark.usefixtures("half")
def test_what_is_no_method_or_no_model_is_refused() -> None:
    refused("'magic' is no technique of intents.onnx; allowed: dynamic, static", "half", "magic")
    refused("'half-onnx' is the name of a conversion; allowed: that of a model, such as half", "half-onnx", "dynamic")


@pytest.mark.usefixtures("half")
def test_the_static_graph_follows_from_the_training_queries_alone(overrides: list[str]) -> None:
    """Other validation and test queries change no byte of it; other training queries do."""

    def louder(split: str) -> bytes:
        path = Path(f"data/clinc/{split}.jsonl")
        original = path.read_text()
        path.write_text(original.replace('"text": "', '"text": "loud '))
        run(ort_quantize, "half", "static")
        path.write_text(original)
        return graph_of("half", "static").read_bytes()

    before = graph_of("half", "static").read_bytes()
    compose(*overrides, "ort_quantize.static.min_agreement=0")
    assert louder("validation") == louder("test") == before
    assert louder("train") != before


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


@pytest.mark.usefixtures("half")
def test_the_share_of_flipped_answers_is_that_of_the_two_ways_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this project the two hardly ever differ, so here they are told to."""
    batches = []

    def padded(model: OnnxModel, queries: list[str]) -> np.ndarray:
        batches.append(len(queries))
        answers = np.stack([model.logits(query) for query in queries])
        return np.roll(answers, 1, axis=1) if len(queries) < 32 else answers  # the last batch answers otherwise

    monkeypatch.setattr(OnnxModel, "logits_padded", padded)
    run(ort_quantize, "half", "static")
    assert batches == [32, 8]
    assert figures("half-ort-static")["flipped_in_padded_batches"] == 8 / 40


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


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("calibration=Maximum", "MinMax, Entropy, Percentile"),
        ("weight_type=int8", "QInt8, QUInt8"),
        ("queries=0", "a whole number, 1 or more"),
        ("symmetric=maybe", "true or false"),
    ],
)
@pytest.mark.usefixtures("half")
def test_a_setting_that_cannot_be_is_refused(overrides: list[str], setting: str, allowed: str) -> None:
    compose(*overrides, f"ort_quantize.static.{setting}")
    refused(f"`ort_quantize.static.{setting.split('=')[0]}` is .*; allowed: {allowed}", "half", "static")
