"""Structured pruning: whole attention heads and feed-forward neurons cut out of a BERT-family encoder.

The matrices themselves become smaller, so the model is smaller and faster in any runtime, which scattered zeros
(stages/library/pruning.py) are not. What to cut is read off gradients on training queries; what the cut took away
is learnt again afterwards, with the lesson of distillation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from safetensors.torch import load_model
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import prune_linear_layer

from stages.library import checkpoints
from stages.library.distillation import distillation_loss, layers_of
from stages.library.errors import PipelineError
from stages.library.pruning import Scope

# The key of config.json that says how many heads and neurons each layer kept: transformers has none, since its
# configurations give all layers the same number, and heads times their size must be the hidden size there.
KEPT = "kept_per_layer"


@dataclass(frozen=True)
class Layout:
    """Where an encoder layer has its parts: names of modules below the layer."""

    attention: str  # what holds the number of heads
    head_count: str  # its attribute for it
    projections: tuple[str, str, str]  # query, key, value: heads are their outputs
    attention_output: str  # heads are its inputs
    expansion: str  # neurons are its outputs
    contraction: str  # neurons are its inputs

    def parts(self) -> tuple[str, ...]:
        return (*self.projections, self.attention_output, self.expansion, self.contraction)


BERT = Layout(
    attention="attention.self",
    head_count="num_attention_heads",
    projections=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_output="attention.output.dense",
    expansion="intermediate.dense",
    contraction="output.dense",
)
DISTILBERT = Layout(
    attention="attention",
    head_count="n_heads",
    projections=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    attention_output="attention.out_lin",
    expansion="ffn.lin1",
    contraction="ffn.lin2",
)


class Scores(NamedTuple):
    """How much each unit matters, one tensor per layer."""

    heads: list[torch.Tensor]  # each (heads,)
    neurons: list[torch.Tensor]  # each (neurons,)


class Kept(NamedTuple):
    """The units that one layer keeps, counted from 0, in increasing order."""

    heads: list[int]
    neurons: list[int]


def layers_and_layout(model: PreTrainedModel) -> tuple[list[nn.Module], Layout]:
    """The encoder's layers, and where their parts are.

    Raises:
        PipelineError: the layers are not built like BERT's or DistilBERT's.
    """
    holder, name = layers_of(model)
    layers = list(getattr(holder, name, []))
    for layout in (BERT, DISTILBERT):
        if layers and all(set(layout.parts()) <= {part for part, _ in layer.named_modules()} for layer in layers):
            return layers, layout
    raise PipelineError(
        f"a {model.config.model_type!r} model has attention or feed-forward layers that are not known here; "
        "structured pruning takes models built like BERT or DistilBERT"
    )


def _linear(layer: nn.Module, name: str) -> nn.Linear:
    found = layer.get_submodule(name)
    assert isinstance(found, nn.Linear), name
    return found


def head_size(model: PreTrainedModel) -> int:
    """Dimensions of one attention head; pruning leaves it as it was."""
    layers, layout = layers_and_layout(model)
    return int(layers[0].get_submodule(layout.attention).attention_head_size)  # type: ignore[arg-type]


def encoder_weights(model: PreTrainedModel) -> int:
    """The number of weights in the encoder's matrices, what a share of them is a share of."""
    layers, layout = layers_and_layout(model)
    return sum(_linear(layer, part).weight.numel() for layer in layers for part in layout.parts())


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
    layers, layout = layers_and_layout(model)
    size = head_size(model)
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


def shrink(model: PreTrainedModel, kept: Sequence[Kept]) -> PreTrainedModel:
    """Cut `model` down, in place, to the units of each layer that are kept; its configuration says how many.

    Each dropped head takes its rows of query, key and value and its columns of the attention's output matrix
    along, each dropped neuron its row and its column; biases of the output matrices stay.
    """
    layers, layout = layers_and_layout(model)
    size = head_size(model)
    for layer, (heads, neurons) in zip(layers, kept, strict=True):
        dimensions = torch.LongTensor([head * size + place for head in heads for place in range(size)])
        for names, index, dim in (
            (layout.projections, dimensions, 0),
            ((layout.attention_output,), dimensions, 1),
            ((layout.expansion,), torch.LongTensor(neurons), 0),
            ((layout.contraction,), torch.LongTensor(neurons), 1),
        ):
            for name in names:
                layer.set_submodule(name, prune_linear_layer(_linear(layer, name), index, dim))
        attention: Any = layer.get_submodule(layout.attention)
        setattr(attention, layout.head_count, len(heads))
        if hasattr(attention, "all_head_size"):  # BERT's has it, DistilBERT's does not
            attention.all_head_size = len(dimensions)
    setattr(model.config, KEPT, [{"heads": len(heads), "neurons": len(neurons)} for heads, neurons in kept])
    return model


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


def load_classifier(folder: Path, attention: str = "sdpa") -> PreTrainedModel:
    """A sequence classifier as checkpoints.load_classifier gives it, from a folder that may hold a shrunk one.

    Raises:
        PipelineError: the weights have other shapes than config.json says.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    counts: list[dict[str, int]] | None = getattr(config, KEPT, None)
    if counts is None:
        return checkpoints.load_classifier(folder, attention=attention)
    model = AutoModelForSequenceClassification.from_config(
        config, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False
    )
    # Which ones were kept is in the weights; here just the shapes have to be theirs.
    shrink(model, [Kept(list(range(count["heads"])), list(range(count["neurons"]))) for count in counts])
    try:
        load_model(model, folder / checkpoints.WEIGHTS, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise PipelineError(
            f"{folder / checkpoints.WEIGHTS} does not fit `{KEPT}` of {folder / 'config.json'}: {reason}"
        ) from None
    return model.eval()
