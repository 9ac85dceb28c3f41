"""onnx-export: a graph that gives PyTorch's answers at any batch and length, or no graph at all."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import part
import pytest
import torch
from conftest import MODELS, ROOT, compose, contents, run
from graphs import without_numbers
from made import LABELS, figures, logits_of, texts
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intents.core.errors import PipelineError
from intents.onnx import export
from intents.onnx.graph import LEAN, SCOPES
from intents.serving.classifier import OnnxModel
from stages import onnx_export

GRAPH = Path("models/half-onnx/model.onnx")


@pytest.fixture
def half(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the student `half` and its graph, to be changed."""
    folder = part.copy(built_once, tmp_path / "project", "half", "half-onnx")
    monkeypatch.chdir(folder)
    return folder


def graph_of(model: str) -> onnx.ModelProto:
    return onnx.load(f"models/{model}-onnx/model.onnx")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("reading")
def test_the_graph_passes_onnx_checker_with_the_opset_asked_for(model: str) -> None:
    onnx.checker.check_model(f"models/{model}-onnx/model.onnx", full_check=True)
    made = graph_of(model)
    assert [entry.version for entry in made.opset_import if entry.domain == ""] == [20]
    masked = [] if made.graph.name == LEAN else ["attention_mask"]
    assert [entry.name for entry in made.graph.input] == ["input_ids", *masked]
    assert [entry.name for entry in made.graph.output] == ["logits"]


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_does_not_tell_where_it_was_made(reading: Path, model: str) -> None:
    content = without_numbers(f"models/{model}-onnx/model.onnx")
    for trace in (str(reading.parent), str(ROOT), onnx_export.__name__, export.__name__, ".py", "__main__"):
        assert trace.encode() not in content
    notes = {entry.key for node in graph_of(model).graph.node for entry in node.metadata_props}
    assert notes == (set() if graph_of(model).graph.name == LEAN else {SCOPES})


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 64), (3, 2), (7, 31)])
@pytest.mark.usefixtures("reading")
def test_batch_and_length_are_free(batch: int, length: int) -> None:
    ids = np.random.default_rng(0).integers(1000, 2000, size=(batch, length))
    mask = np.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    session = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    model = AutoModelForSequenceClassification.from_pretrained("models/half")
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("reading")
def test_the_logits_are_the_models_within_the_tolerance_and_so_are_the_answers(model: str) -> None:
    theirs, ours = (logits_of(name) for name in (model, f"{model}-onnx"))
    for split in ("validation", "test"):
        assert 0 < np.abs(theirs[split] - ours[split]).max() <= 1e-3
        assert (theirs[split].argmax(axis=1) == ours[split].argmax(axis=1)).all()
    right = logits_of(f"{model}-onnx")["validation"].argmax(axis=1) == LABELS
    assert figures(f"{model}-onnx")["validation"] == {"accuracy": pytest.approx(right.mean(), abs=1e-6)}


@pytest.mark.usefixtures("reading")
def test_cached_logits_are_what_the_graph_gives_one_query_at_a_time() -> None:
    model, cached = OnnxModel(GRAPH.parent), logits_of("half-onnx")
    assert set(cached) == {"validation", "test"}
    for text, logits in zip(texts("test"), cached["test"], strict=True):
        np.testing.assert_array_equal(model.logits(text), logits)


@pytest.mark.usefixtures("reading")
def test_a_query_longer_than_the_model_is_cut_as_the_trained_tokenizer_cuts_it() -> None:
    text = "play the song again " * 40
    model = AutoModelForSequenceClassification.from_pretrained("models/half")
    tokens = AutoTokenizer.from_pretrained("models/half")(text, truncation=True, return_tensors="pt")
    assert tokens["input_ids"].shape == (1, 64)
    with torch.inference_mode():
        expected = model(**tokens).logits[0].numpy()
    np.testing.assert_allclose(OnnxModel(GRAPH.parent).logits(text), expected, atol=1e-4)


@pytest.mark.usefixtures("reading")
def test_the_folder_has_the_graph_and_the_tokenizer_and_operators_are_the_graphs() -> None:
    assert {"model.onnx", "tokenizer.json"} <= set(contents(GRAPH.parent))
    assert set(figures("half-onnx")) == {"validation", "operators"}
    operators = [node.op_type for node in graph_of("half").graph.node]
    assert figures("half-onnx")["operators"] == {name: operators.count(name) for name in set(operators)}


@pytest.mark.usefixtures("half")
def test_the_same_again_gives_the_same_bytes() -> None:
    before = contents(Path())
    run(onnx_export, "half")
    assert contents(Path()) == before


@pytest.mark.usefixtures("reading")
def test_a_student_made_as_plain_bert_is_written_as_a_lean_graph() -> None:
    assert [model for model in MODELS if graph_of(model).graph.name == LEAN] == ["narrow"]
    operators = figures("narrow-onnx")["operators"]
    assert (operators["Attention"], operators["FusedMatMul"], operators["BiasGelu"]) == (1, 1, 2)


def refused(message: str, model: str = "half") -> None:
    """The stage fails with that message, and every file is as before."""
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(onnx_export, model)
    assert contents(Path()) == before


def test_a_tolerance_that_is_not_met_leaves_no_graph(half: Path, overrides: list[str]) -> None:
    compose(*overrides, "onnx_export.tolerance=1e-12")
    for path in ("models/half-onnx", "data/logits/half-onnx.safetensors", "reports/models/half-onnx.json"):
        (half / path).rename(half.parent / Path(path).name)
    refused(r"on validation queries \(padded batch\); `onnx_export.tolerance` allows 1e-12, so no graph")
    assert not GRAPH.parent.exists()


@pytest.mark.usefixtures("half")
def test_a_tolerance_that_only_served_queries_break_keeps_the_earlier_graph() -> None:
    """Row 1 of validation is in no padded batch: only the check of queries one by one sees it."""
    cached = logits_of("half")
    cached["validation"][1, 2] += 0.5
    save_file(cached, "data/logits/half.safetensors")
    refused(r"differ from PyTorch's by up to 0\.5 on validation queries \(one by one\)")


@pytest.mark.parametrize("opset", [16, 24])
@pytest.mark.usefixtures("half")
def test_an_opset_out_of_range_is_refused(overrides: list[str], opset: int) -> None:
    compose(*overrides, f"onnx_export.opset={opset}")
    refused(f"`onnx_export.opset` is {opset}; allowed: a whole number from 17 to 23")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody", "models/nobody not found; run `dvc repro distill@nobody`"),
        ("half-onnx", "'half-onnx' is the name of a conversion; allowed: that of a model, such as half"),
        ("Half!", "'Half!' is no variant's name; allowed: MODEL"),
    ],
)
@pytest.mark.usefixtures("half")
def test_what_is_no_model_is_refused(model: str, message: str) -> None:
    refused(message, model)
