"""Plain graphs: the fused graph's numbers in ONNX's own operators, and padding that changes nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path

import graphs
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from transformers import BertConfig, BertForSequenceClassification

from intents.core.errors import PipelineError
from intents.onnx.common import included
from intents.onnx.export import export
from intents.onnx.graph import fuse
from intents.onnx.lean import MICROSOFT, lean
from intents.onnx.plain import EXPANSIONS, plain

LENGTHS = [7, 1, 4]
WIDTH, HEADS, LABELS, WORDS = 24, 4, 5, 50
FIRST = 3  # the token that queries begin with
SOURCES = ("first-1", "lean-1", "lean-2", "masked-2", "fused-2")  # how the fused graph is made, and layers


def classifier(layers: int) -> BertForSequenceClassification:
    """Random weights everywhere, biases and normalizations too."""
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=40,
        max_position_embeddings=16,
        num_labels=LABELS,
    )
    model = BertForSequenceClassification._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


def padded(queries: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    ids = np.zeros((len(queries), max(map(len, queries))), np.int64)
    mask = np.zeros_like(ids)
    for row, query in enumerate(queries):
        ids[row, : len(query)], mask[row, : len(query)] = query, 1
    return {"input_ids": ids, "attention_mask": mask}


def queries() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [np.array([FIRST, *draw.integers(1, WORDS, length - 1)]) for length in LENGTHS]


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    """The logits that ONNX Runtime gives; of the inputs, those that the graph has, in its type of integers."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kinds = {one.name: np.int32 if "int32" in one.type else np.int64 for one in session.get_inputs()}
    return session.run(["logits"], {name: feed[name].astype(kind) for name, kind in kinds.items()})[0]


def alone(model: onnx.ModelProto) -> np.ndarray:
    """The logits of the queries, one at a time."""
    return np.concatenate([run(model, padded([query])) for query in queries()])


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A fused graph in float32, by how it is made; each once."""
    folder = tmp_path_factory.mktemp("fused")

    def make(source: str) -> Path:
        path, (kind, layers) = folder / f"{source}.onnx", source.split("-")
        if not path.exists() and kind == "fused":
            export(classifier(int(layers)), folder / "exported.onnx", opset=20)
            fuse(folder / "exported.onnx", path)
        elif not path.exists():
            first = FIRST if kind == "first" else None
            onnx.save(lean(classifier(int(layers)), first=first, masked=kind == "masked"), path)
        return path

    return make


def int8(graph: Path, technique: str, target: Path) -> onnx.ModelProto:
    names = [one.name for one in onnx.load(graph).graph.input]
    draw = np.random.default_rng(1)
    kind = np.int64 if graph.stem.startswith("fused") else np.int32

    def inputs(_: str) -> dict[str, np.ndarray]:
        feed = padded([np.array([FIRST, *draw.integers(1, WORDS, 5)])])
        return {name: feed[name].astype(kind) for name in names}

    settings = graphs.SETTINGS[technique]()
    settings.quantizer(graph, ["query"] * 20, inputs)(target, included(graph, [], "exclude"))
    return onnx.load(target)


@pytest.mark.parametrize("source", SOURCES)
def test_in_float_the_logits_are_pytorchs_alone_and_in_a_padded_batch(
    source: str, fused: Callable[[str], Path]
) -> None:
    model = classifier(int(source[-1]))
    with torch.no_grad():
        expected = np.concatenate([model(torch.tensor(query[None])).logits.numpy() for query in queries()])
    found = plain(onnx.load(fused(source)))
    np.testing.assert_allclose(alone(found), expected, atol=1e-4)
    np.testing.assert_allclose(run(found, padded(queries())), expected, atol=1e-4)


@pytest.mark.parametrize("technique", ["dynamic", "static"])
@pytest.mark.parametrize("source", SOURCES)
def test_in_int8_the_logits_are_the_fused_graphs(
    source: str, technique: str, fused: Callable[[str], Path], tmp_path: Path
) -> None:
    """But for a number that is rounded to its neighbour. In static int8 a batch changes none."""
    model = int8(fused(source), technique, tmp_path / "int8.onnx")
    found = plain(model)
    expected, answers = alone(model), alone(found)
    step = 0.03 * float(expected.std())
    assert float(np.abs(answers - expected).max()) < step
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).all()
    if technique == "static":
        np.testing.assert_allclose(run(found, padded(queries())), answers, atol=step)
    matrices = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2]
    weights = {tensor.name: tensor for tensor in matrices if tensor.data_type != TensorProto.INT64}
    assert weights
    kept = {tensor.name: tensor for tensor in found.graph.initializer}
    for name, tensor in weights.items():
        assert tensor.data_type in (TensorProto.INT8, TensorProto.UINT8)
        assert kept[name] == tensor


@pytest.mark.parametrize("technique", ["", "dynamic", "static"])
@pytest.mark.parametrize("source", ["lean-2", "fused-2"])
def test_it_is_standard_and_runs_where_no_operator_of_onnx_runtime_is_known(
    source: str, technique: str, fused: Callable[[str], Path], tmp_path: Path
) -> None:
    """In the evaluator of the onnx package, which has none of them and other code for all others."""
    path = fused(source)
    model = int8(path, technique, tmp_path / "int8.onnx") if technique else onnx.load(path)
    before = model.SerializeToString()
    found = plain(model)
    assert model.SerializeToString() == before
    assert {node.domain for node in model.graph.node} == {"", MICROSOFT}
    assert {node.domain for node in found.graph.node} == {""}
    assert [entry.domain for entry in found.opset_import] == [""]
    assert [(one.name, one.type.tensor_type.elem_type) for one in found.graph.input] == [
        ("input_ids", TensorProto.INT64),
        ("attention_mask", TensorProto.INT64),
    ]
    assert [one.name for one in found.graph.output] == ["logits"]
    evaluator = ReferenceEvaluator(found)
    for query in queries():
        expected = run(found, padded([query]))
        np.testing.assert_allclose(
            evaluator.run(["logits"], padded([query]))[0],
            expected,
            atol=0.03 * float(expected.std()) if technique else 1e-4,
        )


def test_the_same_graph_is_the_same_bytes(fused: Callable[[str], Path]) -> None:
    one, other = (plain(onnx.load(fused("lean-2"))).SerializeToString(deterministic=True) for _ in range(2))
    assert one == other


# Single operators, of the vectors of words: (batch, sequence, WIDTH).


def single(
    kind: str, inputs: Sequence[str], outputs: Sequence[str] = ("logits",), **attributes: object
) -> onnx.ModelProto:
    """A graph of one fused operator; of its inputs, words are looked up, `integers` are words in uint8."""
    draw = np.random.default_rng(3)
    shapes = {
        "table": (WORDS, WIDTH),
        "weight": (WIDTH, 3 * WIDTH),
        "skip": (WIDTH,),
        "ones": (WIDTH,),
        "wide": (3 * WIDTH,),
    }
    weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["whole"] = draw.integers(-127, 128, (WIDTH, 3 * WIDTH)).astype(np.int8)
    weights["scales"] = draw.uniform(0.001, 0.01, 3 * WIDTH).astype(np.float32)
    weights["zeros"] = draw.integers(-3, 4, 3 * WIDTH).astype(np.int8)
    weights |= {"scale": np.array(0.02, np.float32), "zero": np.array(120, np.uint8)}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("QuantizeLinear", ["words", "scale", "zero"], ["integers"]),
        helper.make_node(kind, list(inputs), list(outputs), "one", domain=MICROSOFT, **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "single",
        [graphs.value(name, "batch", "sequence", kind=TensorProto.INT64) for name in ("input_ids", "attention_mask")],
        [graphs.value("logits", "batch", "sequence", "width")],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    opsets = [helper.make_opsetid("", graphs.OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


SINGLE = {
    "BiasGelu": single("BiasGelu", ["words", "skip"]),
    "FusedMatMul": single("FusedMatMul", ["words", "words"], transB=1),
    "Gelu": single("Gelu", ["words"]),
    "Attention": single("Attention", ["words", "weight", "wide"], num_heads=HEADS),
    "Attention, scaled": single("Attention", ["words", "weight", "wide"], num_heads=HEADS, scale=0.1),
    "MultiHeadAttention": single("MultiHeadAttention", ["words", "words", "words", "wide"], num_heads=HEADS),
    "QAttention": single(
        "QAttention",
        ["integers", "whole", "wide", "scale", "scales", "", "zero", "zeros"],
        num_heads=HEADS,
    ),
    "MatMulIntegerToFloat": single("MatMulIntegerToFloat", ["integers", "whole", "scale", "scales", "zero", "zeros"]),
    "MatMulIntegerToFloat, bias": single(
        "MatMulIntegerToFloat", ["integers", "whole", "scale", "scales", "zero", "zeros", "wide"]
    ),
    "SkipLayerNormalization": single("SkipLayerNormalization", ["words", "words", "ones", "skip"], epsilon=0.1),
    "SkipLayerNormalization, no beta": single("SkipLayerNormalization", ["words", "words", "ones"]),
    "SkipLayerNormalization, bias": single(
        "SkipLayerNormalization", ["words", "words", "ones", "skip", "skip"], epsilon=1e-12
    ),
    "SkipLayerNormalization, its sum": single(
        "SkipLayerNormalization", ["words", "words", "ones", "skip", "skip"], ["other", "", "", "logits"]
    ),
}


def test_every_operator_is_tried_by_itself() -> None:
    assert {name.split(",")[0] for name in SINGLE} == set(EXPANSIONS)


@pytest.mark.parametrize("name", SINGLE)
def test_an_operator_means_what_onnx_runtime_computes(name: str) -> None:
    feed = padded([query for query in queries() if len(query) == 7] * 2)
    np.testing.assert_allclose(run(plain(SINGLE[name]), feed), run(SINGLE[name], feed), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            single("FastGelu", ["words"]),
            "com.microsoft.FastGelu, which has no plain form; allowed: Attention, BiasGelu",
        ),
        (
            single("Attention", ["words", "weight", "wide"], num_heads=HEADS, unidirectional=1),
            "com.microsoft.Attention with unidirectional, which",
        ),
        (single("FusedMatMul", ["words", "words"], transA=1), "com.microsoft.FusedMatMul with transA, which"),
        (
            single("Attention", ["words", "weight", "wide", "", "", "words"], num_heads=HEADS),
            "com.microsoft.Attention, which",
        ),
    ],
)
def test_what_has_another_meaning_is_refused_in_one_line(model: onnx.ModelProto, told: str) -> None:
    with pytest.raises(PipelineError, match=f"^the graph has {told}") as error:
        plain(model)
    assert len(str(error.value)) < 400
