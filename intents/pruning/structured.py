"""Structured pruning: whole attention heads and feed-forward neurons cut out of a BERT-family encoder.

The matrices themselves become smaller, so the model is smaller and faster in any runtime, which scattered zeros
(intents/pruning/masks.py) are not. What to cut is read off gradients on training queries; what the cut
took away is learnt again afterwards, with the lesson of distillation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerFast

from intents.core.settings import at_least
from intents.models import encoder
from intents.models.encoder import Kept
from intents.pruning import common
from intents.pruning.common import Lesson, Outcome, Plan, Scope
from intents.training.distillation import distillation_loss


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    multiple: int = at_least(1)  # of which each layer's number of neurons is one
    queries: int = at_least(1)  # training queries that heads and neurons are scored on

    def plan(self, model: PreTrainedModel, lesson: Lesson, key: str) -> Plan:  # noqa: ARG002 (no setting to refuse)
        """Whole heads and neurons, cut out of `model` here and now."""
        before = encoder.encoder_weights(model)
        drawn = batches(lesson.train, lesson.tokenizer, self.queries, self.batch_size, lesson.seed)
        scores = importance(model, drawn, self.alpha, self.temperature)
        kept = select(scores, encoder.head_size(model), self.sparsity, self.scope, self.multiple)
        encoder.shrink(model, kept)
        sparsity = 1 - encoder.encoder_weights(model) / before
        schedule = [{"step": 0.0, "due": self.sparsity, "sparsity": sparsity}]
        return Plan({}, lambda _: Outcome(sparsity, report(scores, kept), schedule))


class Scores(NamedTuple):
    """How much each unit matters, one tensor per layer."""

    heads: list[torch.Tensor]  # each (heads,)
    neurons: list[torch.Tensor]  # each (neurons,)


def batches(
    train: Dataset, tokenizer: PreTrainedTokenizerFast, queries: int, batch_size: int, seed: int
) -> Iterable[dict[str, torch.Tensor]]:
    """That many training queries, drawn at random and padded, as `importance` takes them."""
    drawn = train.shuffle(seed=seed).select(range(min(queries, len(train))))
    return DataLoader(drawn, batch_size, collate_fn=DataCollatorWithPadding(tokenizer))  # type: ignore[arg-type]


def importance(
    model: PreTrainedModel, batches: Iterable[Mapping[str, torch.Tensor]], alpha: float, temperature: float
) -> Scores:
    """To first order, how much the distillation loss would change without each head and each neuron.

    I = E_x |aᵀ ∂L(x)/∂a|, with a the unit's output over all tokens of query x: Michel, Levy and Neubig, "Are
    Sixteen Heads Really Better than One?" (2019), section 4.1, for heads; the same Taylor expansion for neurons
    is Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference" (2017), section 2.2.

    Args:
        batches: of training queries, with `labels` (batch,) and `teacher_logits` (batch, labels).
        alpha, temperature: those of the loss alpha · CE + (1 − alpha) · KD.
    """
    layers, layout = encoder.layers_and_layout(model)
    size = encoder.head_size(model)
    readers = [layer.get_submodule(name) for name in (layout.attention_output, layout.contraction) for layer in layers]
    outputs: dict[nn.Module, torch.Tensor] = {}  # of all heads or neurons of a layer, (batch, tokens, dimensions)
    hooks = [reader.register_forward_pre_hook(lambda at, args: outputs.update({at: args[0]})) for reader in readers]
    totals = [torch.zeros(()) for _ in readers]
    queries = 0
    model.eval()
    try:
        for batch in batches:
            inputs = dict(batch)
            teacher = inputs.pop("teacher_logits")
            found = model(**inputs)
            loss = alpha * found.loss + (1 - alpha) * distillation_loss(found.logits, teacher, temperature)
            units = [outputs[reader] for reader in readers]
            # The loss is a mean over the batch: times its size, each query's own gradient.
            gradients = torch.autograd.grad(loss * len(teacher), units)
            for place, (unit, gradient) in enumerate(zip(units, gradients, strict=True)):
                by_query = (unit * gradient).detach().sum(dim=1)  # (batch, dimensions)
                if place < len(layers):
                    by_query = by_query.unflatten(1, (-1, size)).sum(dim=2)  # (batch, heads)
                totals[place] = totals[place] + by_query.abs().sum(dim=0)
            queries += len(teacher)
    finally:
        for hook in hooks:
            hook.remove()
    means = [total / queries for total in totals]
    return Scores(means[: len(layers)], means[len(layers) :])


def select(scores: Scores, size: int, share: float, scope: Scope, multiple: int) -> list[Kept]:
    """The units to keep so that a share of the encoder's weights goes, of heads and of neurons alike.

    At least one head and `multiple` neurons stay in each layer. Heads are whole numbers, so the neurons take up
    what rounding them leaves: the share is met to within half of `multiple` neurons in each group.

    Args:
        size: dimensions of a head.
        share: of the encoder's weights that go, from 0 to below 1.
        scope: whether units compete within their layer or with those of all layers.
        multiple: of which each layer's number of neurons is one; int8 kernels work on blocks of 16 or 32.
    """
    layers = range(len(scores.heads))
    groups = [list(layers)] if scope is Scope.model else [[layer] for layer in layers]
    kept: dict[int, Kept] = {}
    for group in groups:
        heads, neurons = ([of_kind[layer] for layer in group] for of_kind in scores)
        # Weights counted in those of a neuron, 2 · hidden: a head has 4 · hidden · size.
        total = sum(len(layer) * 2 * size for layer in heads) + sum(len(layer) for layer in neurons)
        kept_heads = _best(heads, max(len(group), round((1 - share) * sum(len(layer) for layer in heads))))
        left = (1 - share) * total - sum(len(layer) * 2 * size for layer in kept_heads)
        # The neurons of a layer, best first, in blocks that are kept or go together.
        blocks = [layer.argsort(descending=True, stable=True).split(multiple) for layer in neurons]
        block_scores = [
            torch.stack([layer[block].sum() for block in of_layer])
            for layer, of_layer in zip(neurons, blocks, strict=True)
        ]
        kept_blocks = _best(block_scores, max(len(group), round(left / multiple)))
        for layer, layer_heads, layer_blocks, of_layer in zip(group, kept_heads, kept_blocks, blocks, strict=True):
            kept[layer] = Kept(layer_heads, sorted(int(n) for block in layer_blocks for n in of_layer[block]))
    return [kept[layer] for layer in layers]


def _best(scores: Sequence[torch.Tensor], count: int) -> list[list[int]]:
    """The `count` units of highest score, by layer; the best of each layer is among them in any case."""
    safe = [layer.index_fill(0, layer.argmax(), torch.inf) for layer in scores]
    flat = torch.cat(safe)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.argsort(descending=True, stable=True)[:count]] = True
    return [part.nonzero().flatten().tolist() for part in mask.split([len(layer) for layer in scores])]


def report(scores: Scores, kept: Sequence[Kept]) -> dict[str, dict[str, Any]]:
    """What each layer kept, of how many: the heads by number, the neurons by count."""
    return {
        f"layer.{number}": {
            "heads": layer.heads,
            "heads_before": len(scores.heads[number]),
            "neurons": len(layer.neurons),
            "neurons_before": len(scores.neurons[number]),
        }
        for number, layer in enumerate(kept)
    }
