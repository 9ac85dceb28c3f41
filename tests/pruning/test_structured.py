"""structured: heads and neurons are scored by what the loss would lose, and the least of them go."""

import numpy as np
import pytest
import torch
from pruning.encoders import HEADS, KEPT, NEURONS, SIZE, lesson, readers, silence, tiny
from torch import nn

from intents.models.encoder import Kept
from intents.pruning import structured
from intents.pruning.common import Scope
from intents.pruning.structured import Scores


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
