"""ort-quantize: its settings reach the graph, and nothing is written where fusion or the agreement fails."""

from pathlib import Path

import numpy as np
import part
import pytest
from conftest import compose, contents, run
from graphs import constants, float_products, saved, value
from made import figures, logits_of
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
