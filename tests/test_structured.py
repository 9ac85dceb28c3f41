"""structured: what is cut is gone from the matrices, and the rest answers as if it had been silenced."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import contents
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from stages.library import checkpoints, onnx_graph, shrinking
from stages.library.errors import PipelineError
from stages.library.pruning import structured
from stages.library.pruning.common import Scope
from stages.library.pruning.structured import Scores
from stages.library.shrinking import Kept
from stages.onnx_export import export

HEADS, SIZE, NEURONS, LABELS = 4, 8, 64, 5
KEPT = [Kept([2], list(range(0, 64, 4))), Kept([0, 3], list(range(8, 40))), Kept([0, 1, 3], [0, *range(17, 64)])]


def tiny(kind: str, attention: str = "eager") -> PreTrainedModel:
    """Three layers of four heads; weights large enough for every unit to matter, no bias zero."""
    torch.manual_seed(0)
    common = {"vocab_size": 100, "num_labels": LABELS, "initializer_range": 0.2, "attn_implementation": attention}
    model: PreTrainedModel
    if kind == "bert":
        sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": HEADS, "intermediate_size": NEURONS}
        model = BertForSequenceClassification(BertConfig(**sizes, **common))
    else:
        sizes = {"dim": 32, "n_layers": 3, "n_heads": HEADS, "hidden_dim": NEURONS}
        model = DistilBertForSequenceClassification(DistilBertConfig(**sizes, **common))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2)
    return model.eval()


def queries(batch: int = 3, length: int = 9) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    mask = torch.ones((batch, length), dtype=torch.int64)
    mask[0, length // 2 :] = 0
    return {
        "input_ids": torch.randint(1, 100, (batch, length), generator=draw) * mask,
        "attention_mask": mask,
    }


def lesson(batch: int = 3) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    return queries(batch) | {
        "labels": torch.randint(0, LABELS, (batch,), generator=draw),
        "teacher_logits": torch.randn((batch, LABELS), generator=draw) * 3,
    }


@torch.inference_mode()
def logits_of(model: PreTrainedModel) -> np.ndarray:
    return model(**queries()).logits.numpy()


def readers(model: PreTrainedModel) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Of each layer, the modules that read the heads' and the neurons' outputs: named here, not by the library."""
    for number in range(3):
        names = {
            "bert": (
                f"bert.encoder.layer.{number}.attention.output.dense",
                f"bert.encoder.layer.{number}.output.dense",
            ),
            "distilbert": (
                f"distilbert.transformer.layer.{number}.attention.out_lin",
                f"distilbert.transformer.layer.{number}.ffn.lin2",
            ),
        }[model.config.model_type]
        yield model.get_submodule(names[0]), model.get_submodule(names[1])


def silence(model: PreTrainedModel, kept: list[Kept]) -> None:
    """Multiply the outputs of all other heads and neurons by zero, leaving every matrix as it is."""

    def multiply(module: nn.Module, gate: torch.Tensor) -> None:
        module.register_forward_pre_hook(lambda _, args: (args[0] * gate,))

    for (attention, feed_forward), (heads, neurons) in zip(readers(model), kept, strict=True):
        multiply(attention, torch.tensor([float(unit // SIZE in heads) for unit in range(HEADS * SIZE)]))
        multiply(feed_forward, torch.tensor([float(unit in neurons) for unit in range(NEURONS)]))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_shrunk_model_answers_as_the_full_one_with_the_rest_silenced(kind: str, attention: str) -> None:
    full = tiny(kind, attention)
    before = logits_of(full)
    silence(full, KEPT)
    expected = logits_of(full)
    shrunk = shrinking.shrink(tiny(kind, attention), KEPT)
    assert np.abs(expected - before).max() > 0.1
    np.testing.assert_allclose(logits_of(shrunk), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_weights_that_went_are_those_of_the_units_that_went(kind: str) -> None:
    model = tiny(kind)
    assert shrinking.encoder_weights(model) == 3 * (4 * 32 * 32 + 2 * 32 * NEURONS)
    shrinking.shrink(model, KEPT)
    assert shrinking.encoder_weights(model) == sum(4 * 32 * SIZE * len(h) + 2 * 32 * len(n) for h, n in KEPT)


def test_a_model_can_be_cut_again() -> None:
    once = shrinking.shrink(tiny("bert"), [Kept([2], [5, 9])] * 3)
    twice = shrinking.shrink(tiny("bert"), [Kept([0, 2, 3], [5, 7, 9])] * 3)
    shrinking.shrink(twice, [Kept([1], [0, 2])] * 3)
    np.testing.assert_array_equal(logits_of(once), logits_of(twice))


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_importance_is_the_sum_of_output_times_gradient_query_by_query(kind: str) -> None:
    """Against a gate on every unit: the derivative by a gate that is 1 is that sum, computed by autograd alone."""
    alpha, temperature = 0.3, 2.0
    model, batch = tiny(kind), lesson()
    gates = [[torch.ones(n, requires_grad=True) for n in (HEADS, NEURONS)] for _ in range(3)]
    for modules, pair in zip(readers(model), gates, strict=True):
        for module, gate, repeat in zip(modules, pair, (SIZE, 1), strict=True):
            module.register_forward_pre_hook(lambda _, a, g=gate, r=repeat: (a[0] * g.repeat_interleave(r),))
    totals = [[np.zeros(HEADS), np.zeros(NEURONS)] for _ in range(3)]
    for row in range(3):
        inputs = {name: batch[name][row : row + 1] for name in ("input_ids", "attention_mask")}
        logits = model(**inputs).logits.double()
        hard = nn.functional.cross_entropy(logits, batch["labels"][row : row + 1])
        soft = (batch["teacher_logits"][row : row + 1].double() / temperature).softmax(dim=1)
        apart = (soft * (soft.log() - (logits / temperature).log_softmax(dim=1))).sum()
        loss = alpha * hard + (1 - alpha) * temperature**2 * apart
        found = torch.autograd.grad(loss, [gate for pair in gates for gate in pair])
        for place, gradient in enumerate(found):
            totals[place // 2][place % 2] += np.abs(gradient.numpy()) / 3
    # In two batches of unequal size: each query counts the same.
    parts = [{name: tensor[rows] for name, tensor in batch.items()} for rows in (slice(0, 2), slice(2, 3))]
    scores = structured.importance(tiny(kind), parts, alpha, temperature)
    for layer in range(3):
        np.testing.assert_allclose(scores.heads[layer].numpy(), totals[layer][0], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(scores.neurons[layer].numpy(), totals[layer][1], rtol=1e-3, atol=1e-6)


def test_a_head_and_a_neuron_whose_output_is_zero_do_not_matter() -> None:
    model = tiny("bert")
    silence(model, [Kept([0, 1, 3], list(range(1, NEURONS)))] * 3)
    # The library's own hooks come after ours, so they see the zeros.
    scores = structured.importance(model, [lesson()], alpha=0.5, temperature=2.0)
    for heads, neurons in zip(*scores, strict=True):
        assert [int(unit) for unit in (heads == 0).nonzero()] == [2]
        assert [int(unit) for unit in (neurons == 0).nonzero()] == [0]


def test_the_hooks_are_gone_and_no_gradient_is_left() -> None:
    model = tiny("bert")
    structured.importance(model, [lesson()], alpha=0.5, temperature=2.0)
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def random_scores(layers: int = 3, heads: int = 12, neurons: int = 256) -> Scores:
    draw = torch.Generator().manual_seed(3)
    return Scores(
        [torch.rand(heads, generator=draw) * (layer + 1) for layer in range(layers)],
        [torch.rand(neurons, generator=draw) * (layer + 1) for layer in range(layers)],
    )


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("multiple", [8, 32])
def test_the_share_that_goes_is_the_share_asked_for(scope: Scope, share: float, multiple: int) -> None:
    kept = structured.select(random_scores(), SIZE, share, scope, multiple)
    total = 3 * (12 * 2 * SIZE + 256)
    gone = 1 - sum(2 * SIZE * len(heads) + len(neurons) for heads, neurons in kept) / total
    groups = 1 if scope is Scope.model else 3
    assert gone == pytest.approx(share, abs=groups * multiple / 2 / total + 1e-9)
    assert all(len(neurons) % multiple == 0 for _, neurons in kept)
    assert all(heads == sorted(set(heads)) and neurons == sorted(set(neurons)) for heads, neurons in kept)


def test_within_layers_each_loses_the_same_and_keeps_its_best() -> None:
    scores = random_scores()
    for layer, (heads, neurons) in enumerate(structured.select(scores, SIZE, 0.5, Scope.layer, 8)):
        assert heads == sorted(np.argsort(-scores.heads[layer].numpy())[:6])
        assert neurons == sorted(np.argsort(-scores.neurons[layer].numpy())[:128])


def test_over_the_model_the_layers_that_matter_more_keep_more_and_none_is_left_empty() -> None:
    scores = Scores(*([layers[0] * 0, layers[1], layers[1] * 2] for layers in random_scores()))
    kept = structured.select(scores, SIZE, 0.7, Scope.model, 8)
    assert [len(kept[0].heads), len(kept[0].neurons)] == [1, 8]
    assert len(kept[1].heads) < len(kept[2].heads)
    assert len(kept[1].neurons) < len(kept[2].neurons)


def test_the_report_names_the_heads_and_counts_the_neurons() -> None:
    scores = Scores([torch.ones(HEADS)] * 3, [torch.ones(NEURONS)] * 3)
    assert structured.report(scores, KEPT)["layer.1"] == {
        "heads": [0, 3],
        "heads_before": 4,
        "neurons": 32,
        "neurons_before": 64,
    }


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_saved_and_loaded_it_gives_the_same_logits_and_saved_again_the_same_bytes(
    tmp_path: Path, kind: str, attention: str
) -> None:
    model = shrinking.shrink(tiny(kind, attention), KEPT)
    model.save_pretrained(tmp_path / "once")
    loaded = shrinking.load_classifier(tmp_path / "once", attention)
    assert not loaded.training
    assert loaded.config._attn_implementation == attention
    np.testing.assert_array_equal(logits_of(loaded), logits_of(model))
    loaded.save_pretrained(tmp_path / "twice")
    assert contents(tmp_path / "twice") == contents(tmp_path / "once")


def test_an_ordinary_folder_is_loaded_as_ever(tmp_path: Path) -> None:
    tiny("bert").save_pretrained(tmp_path)
    found = shrinking.load_classifier(tmp_path)
    np.testing.assert_array_equal(logits_of(found), logits_of(checkpoints.load_classifier(tmp_path)))


def test_weights_of_other_shapes_than_config_json_says_are_refused(tmp_path: Path) -> None:
    shrinking.shrink(tiny("bert"), KEPT).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["kept_per_layer"][0]["heads"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PipelineError, match=r"model.safetensors does not fit `kept_per_layer` of .*size mismatch"):
        shrinking.load_classifier(tmp_path)


SMALL = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (DebertaV2ForSequenceClassification(DebertaV2Config(**SMALL, intermediate_size=64)), "deberta-v2"),
        (AlbertForSequenceClassification(AlbertConfig(**SMALL, embedding_size=16, intermediate_size=64)), "albert"),
    ],
    ids=["deberta", "albert"],
)
def test_an_architecture_that_is_not_known_is_refused(model: PreTrainedModel, name: str) -> None:
    with pytest.raises(PipelineError, match=f"a '{name}' model has .* takes models built like BERT or DistilBERT"):
        shrinking.shrink(model, [Kept([0], [0])])


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_exported_and_fused_it_keeps_each_layers_heads_and_gives_the_same_logits(tmp_path: Path, kind: str) -> None:
    model = shrinking.shrink(tiny(kind), KEPT)
    export(model, tmp_path / "plain.onnx", opset=20)
    fused = onnx_graph.fuse(tmp_path / "plain.onnx", tmp_path / "fused.onnx")
    assert fused["Attention"] == 3
    attentions = [node for node in onnx.load(tmp_path / "fused.onnx").graph.node if node.op_type == "Attention"]
    heads = [{a.name: a.i for a in node.attribute}["num_heads"] for node in attentions]
    assert heads == [1, 2, 3]
    for name in ("plain", "fused"):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {key: tensor.numpy() for key, tensor in queries().items()})
        np.testing.assert_allclose(found, logits_of(model), atol=1e-4)
