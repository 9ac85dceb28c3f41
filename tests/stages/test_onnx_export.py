"""onnx-export: a graph that gives PyTorch's answers at any batch and length, or no graph at all."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import MODELS, ROOT, compose, contents, run
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.data import corpus
from intents.onnx import graph as onnx_graph
from intents.serving.classifier import OnnxClassifier
from stages import onnx_export


def session(model: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(f"data/onnx/{model}/model.onnx", providers=["CPUExecutionProvider"])


def figures(model: str) -> dict[str, object]:
    return json.loads(Path(f"reports/quality/{model}-onnx.json").read_text())[f"{model}-onnx"]


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_passes_onnx_checker_with_the_opset_asked_for(built: Path, model: str) -> None:
    path = built / f"data/onnx/{model}/model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path)
    assert [entry.version for entry in graph.opset_import if entry.domain == ""] == [20]
    assert [entry.name for entry in graph.graph.input] == ["input_ids", "attention_mask"]
    assert [entry.name for entry in graph.graph.output] == ["logits"]


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_does_not_tell_where_it_was_made(built: Path, model: str) -> None:
    content = (built / f"data/onnx/{model}/model.onnx").read_bytes()
    for trace in (str(built.parent), str(ROOT), onnx_export.__name__, onnx_export.__file__, ".py", "__main__"):
        assert trace.encode() not in content
    notes = [entry.key for node in onnx.load_from_string(content).graph.node for entry in node.metadata_props]
    assert set(notes) == {onnx_graph.SCOPES}, "sensitivity names a node after its module"


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 64), (3, 2), (7, 31)])
def test_batch_and_length_are_free(built: Path, batch: int, length: int) -> None:
    ids = np.random.default_rng(0).integers(1000, 2000, size=(batch, length))
    mask = np.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    (found,) = session("student").run(None, {"input_ids": ids, "attention_mask": mask})
    model = AutoModelForSequenceClassification.from_pretrained(built / "data/student")
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("built")
def test_parity_is_that_of_the_logits_files_and_within_the_tolerance(model: str) -> None:
    theirs, ours = (load_file(f"data/logits/{name}.safetensors") for name in (model, f"{model}-onnx"))
    difference = np.abs(theirs["validation"] - ours["validation"])
    assert difference.max() <= 1e-3
    assert np.abs(theirs["test"] - ours["test"]).max() <= 1e-3
    assert figures(model)["parity"] == pytest.approx(
        {
            "parent": model,
            "queries": 40,
            "max_logit_difference": difference.max(),
            "mean_logit_difference": difference.mean(),
            "agreement": 1.0,
        },
        abs=1e-6,
    )


def test_cached_logits_are_what_the_graph_gives_one_query_at_a_time(built: Path) -> None:
    classifier, cached = OnnxClassifier(built / "data/onnx/student"), load_file("data/logits/student-onnx.safetensors")
    assert set(cached) == {"validation", "test"}
    for row, logits in zip(corpus.load(built / "data/clinc", "test"), cached["test"], strict=True):
        np.testing.assert_array_equal(classifier.logits(row.text), logits)


def test_a_query_longer_than_the_model_is_cut_as_the_trained_tokenizer_cuts_it(built: Path) -> None:
    text = "play the song again " * 40
    model = AutoModelForSequenceClassification.from_pretrained(built / "data/student")
    tokens = AutoTokenizer.from_pretrained(built / "data/student")(text, truncation=True, return_tensors="pt")
    assert tokens["input_ids"].shape == (1, 64)
    with torch.inference_mode():
        expected = model(**tokens).logits[0].numpy()
    np.testing.assert_allclose(OnnxClassifier(built / "data/onnx/student").logits(text), expected, atol=1e-4)


def test_the_folder_serves_by_itself_and_size_and_operators_are_the_graphs(built: Path) -> None:
    assert {"model.onnx", "tokenizer.json", "classifier.json"} <= set(contents(built / "data/onnx/student"))
    path = built / "data/onnx/student/model.onnx"
    assert figures("student")["size_mb"] == pytest.approx(path.stat().st_size / 2**20, abs=1e-6)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert figures("student")["operators"] == {name: operators.count(name) for name in set(operators)}
    student = json.loads((built / "reports/quality/student.json").read_text())["student"]
    assert figures("student")["parameters"] == student["parameters"]
    assert figures("student")["accuracy"] == student["accuracy"]


def refused(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """The stage fails on the student with that message, and every file is as before."""
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(onnx_export, "student")
    assert contents(Path()) == before


def test_a_tolerance_that_is_not_met_leaves_no_graph(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose(*overrides, "onnx_export.tolerance=1e-12")
    for path in ("data/onnx/student", "data/logits/student-onnx.safetensors", "reports/quality/student-onnx.json"):
        (built / path).rename(built.parent / Path(path).name)
    refused(monkeypatch, r"on validation queries \(padded batch\); `onnx_export.tolerance` allows 1e-12, so no graph")
    assert not (built / "data/onnx/student").exists()


@pytest.mark.usefixtures("built")
def test_a_tolerance_that_only_served_queries_break_keeps_the_earlier_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 1 of validation is in no padded batch: only the check of queries one by one sees it."""
    cached = load_file("data/logits/student.safetensors")
    cached["validation"][1, 2] += 0.5
    save_file(cached, "data/logits/student.safetensors")
    refused(monkeypatch, r"differ from PyTorch's by up to 0\.5 on validation queries \(one by one\)")


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(PipelineError, match="by up to nan"):
        onnx_export.check_parity(np.zeros((1, 2)), np.array([[0, np.nan]]), 1.0, "shape")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("data/student", "data/student not found; run `dvc repro distill`"),
        ("data/logits/student.safetensors", "not found; run `dvc repro distill`"),
        ("data/clinc", "not found; run `dvc repro fetch-clinc`"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run(
    built: Path, monkeypatch: pytest.MonkeyPatch, gone: str, message: str
) -> None:
    (built / gone).rename(built.parent / "elsewhere")
    refused(monkeypatch, message)


@pytest.mark.parametrize(("opset", "allowed"), [(16, "from 17 to 23"), (24, "from 17 to 23")])
@pytest.mark.usefixtures("built")
def test_an_opset_out_of_range_is_refused(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, opset: int, allowed: str
) -> None:
    compose(*overrides, f"onnx_export.opset={opset}")
    refused(monkeypatch, f"`onnx_export.opset` is {opset}; allowed: a whole number {allowed}")


@pytest.mark.usefixtures("built")
def test_an_unknown_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="data/nobody not found; run `dvc repro`"):
        run(onnx_export, "nobody")
