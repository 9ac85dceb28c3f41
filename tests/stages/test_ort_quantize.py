"""ort-quantize: the graph fused and in int8; refused where fusion or the agreement fails."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import MODELS, compose, contents, run
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.onnx import graph as onnx_graph
from intents.onnx.common import WeightType, included
from intents.onnx.static import Calibration, Static
from intents.serving.classifier import OnnxClassifier
from stages import ort_quantize

# Static quantization beside the dynamic one; so small a model agrees with itself less than a real one.
STATIC = ("ort_quantize=[dynamic,static]", "ort_quantize.static.min_agreement=0.5", "ort_quantize.static.queries=20")


def figures(model: str) -> dict[str, object]:
    return json.loads(Path(f"reports/quality/{model}-ort-dynamic.json").read_text())[f"{model}-ort-dynamic"]


def refused(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """The stage fails on the student with that message, and every file is as before."""
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(ort_quantize, "student", "dynamic")
    assert contents(Path()) == before


def nodes(path: str) -> list[onnx.NodeProto]:
    return list(onnx.load(path).graph.node)


def weight_matrices(path: str) -> list[str]:
    """The names of the nodes that multiply by a float weight."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [
        node.name.removesuffix("_MatMul")  # what dynamic quantization makes of a Gemm
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and weights & set(node.input[:2])
    ]


@pytest.mark.parametrize(("model", "layers"), [("teacher", 4), ("student", 2), ("pruned-movement", 2)])
@pytest.mark.usefixtures("built")
def test_fused_operators_are_those_of_every_layer_and_stand_in_the_graph(model: str, layers: int) -> None:
    fused = figures(model)["fused_operators"]
    assert (fused["BiasGelu"], fused["SkipLayerNormalization"]) == (layers, 2 * layers)
    operators = [node.op_type for node in nodes(f"data/ort/dynamic/{model}/model.onnx")]
    assert figures(model)["operators"] == {name: operators.count(name) for name in set(operators)}
    for name, count in fused.items():
        assert count == operators.count(name) + operators.count(f"Q{name}")


@pytest.mark.usefixtures("built")
def test_no_weight_matrix_stays_in_float() -> None:
    assert len(weight_matrices("data/onnx/student/model.onnx")) == 14
    assert weight_matrices("data/ort/dynamic/student/model.onnx") == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("built")
def test_parity_is_that_of_the_logits_files(model: str) -> None:
    theirs, ours = (
        load_file(f"data/logits/{model}-{form}.safetensors")["validation"] for form in ("onnx", "ort-dynamic")
    )
    difference = np.abs(theirs - ours)
    assert figures(model)["parity"] == pytest.approx(
        {
            "parent": f"{model}-onnx",
            "queries": 40,
            "max_logit_difference": difference.max(),
            "mean_logit_difference": difference.mean(),
            "agreement": (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean(),
        },
        abs=1e-6,
    )
    assert difference.max() > 0


def test_the_folder_serves_by_itself_and_gives_the_cached_logits(built: Path) -> None:
    assert set(contents(built / "data/ort/dynamic/student")) == {"model.onnx", "tokenizer.json", "classifier.json"}
    classifier = OnnxClassifier(built / "data/ort/dynamic/student")
    cached = load_file("data/logits/student-ort-dynamic.safetensors")
    assert set(cached) == {"validation", "test"}
    for row, logits in zip(corpus.load(built / "data/clinc", "test"), cached["test"], strict=True):
        np.testing.assert_array_equal(classifier.logits(row.text), logits)


def test_the_file_is_a_third_of_the_float_graphs(built: Path) -> None:
    size = (built / "data/ort/dynamic/student/model.onnx").stat().st_size
    assert figures("student")["size_mb"] == pytest.approx(size / 2**20, abs=1e-6)
    assert size < (built / "data/onnx/student/model.onnx").stat().st_size / 3


def test_the_rule_is_calibrated_for_the_int8_model(built: Path) -> None:
    rule = json.loads((built / "data/ort/dynamic/student/classifier.json").read_text())
    assert rule["intents"] == ["alarm", "music", "weather", "oos"]
    assert figures("student")["threshold"] == pytest.approx(rule["threshold"], abs=1e-6)


def test_the_same_again_gives_the_same_bytes(built: Path, built_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(ort_quantize, "student", "dynamic")
    for name in ("data/ort", "data/logits", "reports/quality"):
        assert contents(built / name) == contents(built_once / name)


def test_settings_reach_the_graph(built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def types() -> set[int]:
        graph = onnx.load(built / "data/ort/dynamic/student/model.onnx").graph
        return {tensor.data_type for tensor in graph.initializer if tensor.name.startswith("val_")} & {
            TensorProto.INT8,
            TensorProto.UINT8,
        }

    assert types() == {TensorProto.INT8}
    compose(*overrides, "ort_quantize.dynamic.weight_type=QUInt8")
    run(ort_quantize, "student", "dynamic")
    assert types() == {TensorProto.UINT8}


@pytest.mark.parametrize("method", ["dynamic", "static"])
@pytest.mark.usefixtures("built")
def test_excluded_nodes_stay_float(overrides: list[str], monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    excluded = ["encoder.layer.1.output.dense", "classifier"]
    compose(*overrides, *STATIC, f"ort_quantize.{method}.exclude=[{','.join(excluded)}]")
    run(ort_quantize, "student", method)
    assert weight_matrices(f"data/ort/{method}/student/model.onnx") == excluded


@pytest.mark.parametrize(("key", "count"), [("per_channel=true", 32), ("per_channel=false", 1)])
def test_a_scale_per_channel_or_per_matrix(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, key: str, count: int
) -> None:
    compose(*overrides, f"ort_quantize.dynamic.{key}")
    run(ort_quantize, "student", "dynamic")
    graph = onnx.load(built / "data/ort/dynamic/student/model.onnx").graph
    scales = [
        list(tensor.dims)
        for tensor in graph.initializer
        if tensor.name.endswith("pooler.dense.weight_Transposed_scale")
    ]
    assert [int(np.prod(dims)) for dims in scales] == [count]


@pytest.mark.usefixtures("built")
def test_an_unknown_excluded_node_is_named(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compose(*overrides, "ort_quantize.dynamic.exclude=[classifier,nothing]")
    refused(
        monkeypatch,
        "`ort_quantize.dynamic.exclude` names 'nothing'; allowed: embeddings.word_embeddings, .*, classifier",
    )


@pytest.mark.usefixtures("built")
def test_excluding_every_node_is_refused(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_graph.fuse(Path("data/onnx/student/model.onnx"), Path("fused.onnx"))
    everything = ",".join(included(Path("fused.onnx"), [], ""))
    compose(*overrides, f"ort_quantize.dynamic.exclude=[{everything}]")
    refused(monkeypatch, "`ort_quantize.dynamic.exclude` names every node, so nothing would be int8; allowed: some of")


@pytest.mark.usefixtures("built")
def test_too_little_agreement_with_the_float_graph_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = load_file("data/logits/student-onnx.safetensors")
    save_file({split: -logits for split, logits in cached.items()}, "data/logits/student-onnx.safetensors")
    refused(monkeypatch, r"agrees with student-onnx on .* `ort_quantize.dynamic.min_agreement` asks for 50.00%")


@pytest.mark.usefixtures("built")
def test_a_graph_in_which_nothing_can_be_fused_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    nodes = [
        helper.make_node("Add", ["input_ids", "attention_mask"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["logits"], to=TensorProto.FLOAT),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence"])
    model = helper.make_model(
        helper.make_graph(nodes, "sum", inputs, [output]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    onnx.save(model, "data/onnx/student/model.onnx")
    refused(monkeypatch, "fusion made no fused operator in data/onnx/student/model.onnx")


def test_without_the_float_graph_it_says_what_to_run(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (built / "data/onnx/student").rename(built.parent / "elsewhere")
    refused(monkeypatch, "data/onnx/student not found; run `dvc repro onnx-export@student`")


# Static quantization.


@pytest.fixture
def static(built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny project with the student in static int8 too; the path of its graph."""
    compose(*overrides, *STATIC)
    run(ort_quantize, "student", "static")
    return built / "data/ort/static/student/model.onnx"


def product(folder: Path, weight: np.ndarray) -> Path:
    """A graph of one product of `x` (rows, columns) by a weight, and of the residual x that is added to it."""
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", len(weight)]) for name in ("x", "logits")]
    nodes = [
        helper.make_node("Abs", ["x"], ["inner"], "abs"),
        helper.make_node("MatMul", ["inner", "weight"], ["product"], "product"),
        helper.make_node("Add", ["product", "inner"], ["logits"], "residual"),
    ]
    graph = helper.make_graph(nodes, "g", rows[:1], rows[1:], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "float.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def static_settings(**changes: object) -> Static:
    kept = {
        "weight_type": WeightType["QInt8"],
        "symmetric": False,
        "per_channel": True,
        "reduce_range": False,
        "calibration": Calibration["MinMax"],
        "queries": 4,
        "seed": 0,
        "exclude": [],
        "min_agreement": 0.0,
    }
    return Static(**(kept | changes))


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["logits"], {"x": x})[0]


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_static_product_is_that_of_the_rounded_integers(tmp_path: Path, per_channel: bool) -> None:
    draw = np.random.default_rng(0)
    weight = (draw.normal(size=(8, 8)) * np.arange(1, 9)).astype(np.float32)
    seen = [{"x": draw.normal(size=(3, 8)).astype(np.float32)} for _ in range(4)]
    x = 2 * draw.normal(size=(5, 8)).astype(np.float32)  # beyond what was seen, so that some of it is clipped
    target = tmp_path / "int8.onnx"
    settings = static_settings(per_channel=per_channel, queries=len(seen))
    queries = [str(number) for number in range(len(seen))]
    write = settings.quantizer(product(tmp_path, weight), queries, lambda query: seen[int(query)])
    write(target, ["product"])

    high = max(np.abs(feed["x"]).max() for feed in seen)
    assert np.abs(x).max() > high
    integers = np.clip(np.round(np.abs(x) / (high / 255)), 0, 255).astype(np.int32)
    scales = np.abs(weight).max(axis=0 if per_channel else None) / 127
    integer_weight = np.round(weight / scales).astype(np.int32)
    expected = (integers @ integer_weight) * (high / 255) * scales + np.abs(x)  # the residual is not rounded
    np.testing.assert_allclose(answers(target, x), expected, rtol=1e-4, atol=1e-3)
    assert np.abs(answers(target, x) - (np.abs(x) @ weight + np.abs(x))).max() > 0.1  # it differs from float


@pytest.mark.parametrize(("calibration", "least"), [("MinMax", 8.0), ("Percentile", 7.9), ("Entropy", 4.0)])
def test_a_range_is_that_of_all_queries_seen(tmp_path: Path, calibration: str, least: float) -> None:
    """The feeds differ in length, as queries do. Entropy may cut off a single largest value."""
    source = product(tmp_path, np.eye(2, dtype=np.float32))
    seen = [{"x": np.array(rows, np.float32)} for rows in ([[1, 2]], [[-8, 3], [5, 4]], [[0.5, 1]])]
    ranges = static_settings(calibration=Calibration[calibration]).calibrate(source, seen)
    low, high = (np.ravel(bound)[0] for bound in ranges["inner"].range_value)
    assert least <= high <= 8
    assert 0 <= low <= 0.5


def test_calibration_draws_training_queries_and_the_same_ones_again() -> None:
    training = [f"query {number}" for number in range(100)]
    drawn = static_settings(queries=30).drawn(training)
    assert len(set(drawn)) == len(drawn) == 30
    assert set(drawn) < set(training)
    assert drawn == static_settings(queries=30).drawn(training)
    assert drawn != static_settings(queries=30, seed=1).drawn(training)
    assert sorted(static_settings(queries=1000).drawn(training)) == sorted(training)


def test_the_static_graph_follows_from_the_training_queries_alone(
    static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other validation and test queries change no byte of it; other training queries do."""

    def emptied(split: str) -> bytes:
        path = Path(f"data/clinc/{split}.jsonl")
        original = path.read_text()
        lines = original.splitlines(keepends=True)
        path.write_text("".join(line.replace('"text": "', '"text": "loud ') for line in lines))
        run(ort_quantize, "student", "static")
        path.write_text(original)
        return static.read_bytes()

    before = static.read_bytes()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("min_agreement: 0.5", "min_agreement: 0.0"))
    assert emptied("validation") == emptied("test") == before
    assert emptied("train") != before


def test_products_by_weights_run_in_integer_kernels_and_tables_are_int8(static: Path, tmp_path: Path) -> None:
    assert weight_matrices(str(static)) == []
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(static, options, providers=["CPUExecutionProvider"])
    run_as = Counter(node.op_type for node in nodes(options.optimized_model_filepath))
    assert run_as["QAttention"] == 2  # query, key and value of each layer at once
    assert run_as["MatMulIntegerToFloat"] == 8  # three in each layer, the pooler and the classifier
    floats = ("MatMul", "FusedMatMul", "Gemm", "Attention", "DynamicQuantizeLinear", "DynamicQuantizeMatMul")
    assert [run_as[kind] for kind in floats] == [0] * len(floats)
    tables = [tensor for tensor in onnx.load(static).graph.initializer if "embeddings.weight" in tensor.name]
    assert {tensor.data_type for tensor in tables if len(tensor.dims) == 2} == {TensorProto.UINT8}
    assert len([tensor for tensor in tables if len(tensor.dims) == 2]) == 3


def test_a_fixed_range_leaves_the_answers_of_a_batch_as_they_are(static: Path) -> None:
    path = Path("reports/quality/student-ort-static.json")
    fixed = json.loads(path.read_text())["student-ort-static"]["parity_in_padded_batches"]
    measured = figures("student")["parity_in_padded_batches"]
    assert (fixed["parent"], fixed["queries"]) == ("student-ort-static", 40)
    assert fixed["agreement"] == 1.0
    assert fixed["max_logit_difference"] < measured["max_logit_difference"] / 10


def test_the_same_static_graph_again(static: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(Path())
    run(ort_quantize, "student", "static")
    assert contents(Path()) == before


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("calibration=Maximum", "MinMax, Entropy, Percentile"),
        ("weight_type=int8", "QInt8, QUInt8"),
        ("queries=0", "a whole number, 1 or more"),
    ],
)
@pytest.mark.usefixtures("built")
def test_a_setting_that_cannot_be_is_refused(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, setting: str, allowed: str
) -> None:
    compose(*overrides, *STATIC, f"ort_quantize.static.{setting}")
    with pytest.raises(PipelineError, match=f"`ort_quantize.static.{setting.split('=')[0]}` is .*; allowed: {allowed}"):
        run(ort_quantize, "student", "static")
