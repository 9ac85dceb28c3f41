"""Export: the kind of graph that fits a model, with PyTorch's logits, that does not tell where it was made."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import ROOT
from graphs import without_numbers
from pruning.encoders import KEPT, LABELS, logits_of, queries, tiny
from transformers import PreTrainedModel

from intents.core.errors import PipelineError
from intents.models.encoder import shrink
from intents.models.pooled import PooledClassifier, PooledConfig
from intents.onnx import export
from intents.onnx.graph import LEAN, SCOPES


def pooled(labels: int = LABELS) -> PooledClassifier:
    torch.manual_seed(0)
    config = PooledConfig(encoder_config=tiny("bert").config, num_labels=labels)
    config._attn_implementation = "eager"
    return PooledClassifier(config).eval()


MADE = {
    "bert": lambda: tiny("bert"),
    "distilbert": lambda: tiny("distilbert"),
    "structured": lambda: shrink(tiny("bert"), KEPT),
    "pooled": pooled,
}
EXPORTED = ("distilbert", "structured", "pooled")  # what cannot be written as a lean graph


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Path]:
    """A model, and its graph: exporting takes seconds."""
    model, path = MADE[request.param](), tmp_path_factory.mktemp(request.param) / "model.onnx"
    export.write(model, path, 20)
    return model, path


def test_a_written_graph_gives_the_logits_of_the_model_in_a_padded_batch(
    exported: tuple[PreTrainedModel, Path],
) -> None:
    model, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {name: tensor.numpy() for name, tensor in queries().items()})[0]
    np.testing.assert_allclose(found, logits_of(model), atol=1e-4)


def test_of_the_exporters_notes_the_modules_alone_are_kept(exported: tuple[PreTrainedModel, Path]) -> None:
    content = without_numbers(exported[1])
    for trace in (str(exported[1].parent), str(ROOT), export.__name__, export.__file__, __file__, ".py", "__main__"):
        assert trace.encode() not in content
    notes = {entry.key for node in onnx.load_from_string(content).graph.node for entry in node.metadata_props}
    assert notes == {SCOPES}


def test_a_written_graph_of_plain_bert_is_lean_and_gives_the_logits_of_a_query_alone(tmp_path: Path) -> None:
    model = tiny("bert")
    export.write(model, tmp_path / "model.onnx", 20)
    assert onnx.load(tmp_path / "model.onnx").graph.name == LEAN
    ids = queries()["input_ids"][1:2]
    with torch.inference_mode():
        expected = model(input_ids=ids).logits.numpy()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"input_ids": ids.numpy().astype(np.int32)})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "structured"])
def test_either_kind_of_graph_is_of_the_opset_asked_for(tmp_path: Path, kind: str) -> None:
    export.write(MADE[kind](), tmp_path / "model.onnx", 18)
    versions = [entry.version for entry in onnx.load(tmp_path / "model.onnx").opset_import if entry.domain == ""]
    assert versions == [18]


def test_a_cosine_head_is_folded_into_a_product_the_same_bytes_wherever_it_is_written(tmp_path: Path) -> None:
    many = 300  # of so few as the other tests have, the exporter folds the weights itself
    paths = [tmp_path / "here.onnx", tmp_path / "else/where/there.onnx"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        export.write(pooled(many), path, 20)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    export.export(pooled(many), tmp_path / "unfolded.onnx", 20)
    folded, unfolded = (len(onnx.load(path).graph.node) for path in (paths[0], tmp_path / "unfolded.onnx"))
    assert folded < unfolded


def test_a_difference_within_the_tolerance_is_accepted_and_one_beyond_is_not() -> None:
    expected = np.zeros((2, 3))
    found = expected.copy()
    found[1, 2] = -0.25
    export.check_parity(expected, found, 0.25, "shape")
    with pytest.raises(PipelineError, match=r"by up to 0\.25 on validation queries \(shape\); .* allows 0\.2, so no"):
        export.check_parity(expected, found, 0.2, "shape")


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(PipelineError, match="by up to nan"):
        export.check_parity(np.zeros((1, 2)), np.array([[0, np.nan]]), 1.0, "shape")
