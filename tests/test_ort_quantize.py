"""ort-quantize: the graph fused and in int8; refused where fusion or the agreement fails."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import MODELS, compose, contents, run
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

from stages import ort_quantize
from stages.library import splits
from stages.library.classifier import OnnxClassifier
from stages.library.errors import PipelineError


def figures(model: str) -> dict[str, object]:
    return json.loads(Path(f"reports/quality/{model}-ort-dynamic.json").read_text())[f"{model}-ort-dynamic"]


def refused(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """The stage fails on the student with that message, and every file is as before."""
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(ort_quantize, monkeypatch, "student", "dynamic")
    assert contents(Path()) == before


def nodes(path: str) -> list[onnx.NodeProto]:
    return list(onnx.load(path).graph.node)


def weight_matrices(path: str) -> list[str]:
    """The names of the MatMul nodes that multiply by a weight."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node if node.op_type == "MatMul" and weights & set(node.input)]


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
    assert len(weight_matrices("data/onnx/student/model.onnx")) == 12
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
    for row, logits in zip(splits.load(built / "data/clinc", "test"), cached["test"], strict=True):
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
    run(ort_quantize, monkeypatch, "student", "dynamic")
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
    excluded = weight_matrices("data/onnx/student/model.onnx")[0]
    compose(*overrides, "ort_quantize.dynamic.weight_type=QUInt8", f"ort_quantize.dynamic.exclude=[{excluded}]")
    run(ort_quantize, monkeypatch, "student", "dynamic")
    assert types() == {TensorProto.UINT8}
    assert weight_matrices("data/ort/dynamic/student/model.onnx") == [excluded]


@pytest.mark.parametrize(("key", "count"), [("per_channel=true", 32), ("per_channel=false", 1)])
def test_a_scale_per_channel_or_per_matrix(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, key: str, count: int
) -> None:
    compose(*overrides, f"ort_quantize.dynamic.{key}")
    run(ort_quantize, monkeypatch, "student", "dynamic")
    graph = onnx.load(built / "data/ort/dynamic/student/model.onnx").graph
    scales = [
        list(tensor.dims)
        for tensor in graph.initializer
        if tensor.name.endswith("pooler.dense.weight_Transposed_scale")
    ]
    assert [int(np.prod(dims)) for dims in scales] == [count]


@pytest.mark.usefixtures("built")
def test_an_unknown_excluded_node_is_named(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = weight_matrices("data/onnx/student/model.onnx")[0]
    compose(*overrides, f"ort_quantize.dynamic.exclude=[{known},nothing]")
    refused(monkeypatch, "`ort_quantize.dynamic.exclude` names 'nothing', which is no node of the fused graph")


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
