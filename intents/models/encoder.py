"""A BERT-family encoder cut down, by whole layers, attention heads or neurons, and loaded as it is left.

Which heads and neurons to cut is not known here: intents/pruning/structured.py chooses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_model
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.pytorch_utils import prune_linear_layer

from intents.core.errors import PipelineError
from intents.models import checkpoints, reading

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


class Kept(NamedTuple):
    """The units that one layer keeps, counted from 0, in increasing order."""

    heads: list[int]
    neurons: list[int]


def layers_of(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds a BERT-family encoder's layers, and the attribute they are under."""
    base = model.base_model
    for holder in ("encoder", "transformer"):  # BERT's and DistilBERT's names for it
        if hasattr(base, holder):
            return getattr(base, holder), "layer"
    raise PipelineError(f"a {model.config.model_type!r} model has no encoder layers that are known here")


def keep_layers(model: PreTrainedModel, kept: list[int], key: str) -> PreTrainedModel:
    """`model` with those encoder layers alone (counted from 0), as DistilBERT was made from BERT.

    Sanh et al., "DistilBERT" (2019), section 3: initialized from the teacher by taking one layer out of two.

    Args:
        key: the setting that `kept` is from, for errors to name.

    Raises:
        PipelineError: a layer does not exist, or the list is not increasing.
    """
    holder, name = layers_of(model)
    layers = getattr(holder, name)
    check_layers(kept, len(layers), key)
    setattr(holder, name, nn.ModuleList(layers[layer] for layer in kept))
    model.config.num_hidden_layers = len(kept)
    return model


def check_layers(kept: list[int], layers: int, key: str) -> None:
    """Raise a PipelineError if those are no layers of a teacher that has so many, or are not in increasing order."""
    if unknown := [layer for layer in kept if not 0 <= layer < layers]:
        raise PipelineError(
            f"`{key}` names layer {unknown[0]}, but the teacher has {layers}: allowed are 0 to {layers - 1}"
        )
    if not kept or kept != sorted(set(kept)):
        raise PipelineError(f"`{key}` is {kept}; allowed: one or more layers, each once, in increasing order")


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


def linear(layer: nn.Module, name: str) -> nn.Linear:
    """The linear layer of that name below an encoder layer."""
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
    return sum(linear(layer, part).weight.numel() for layer in layers for part in layout.parts())


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
                layer.set_submodule(name, prune_linear_layer(linear(layer, name), index, dim))
        attention: Any = layer.get_submodule(layout.attention)
        setattr(attention, layout.head_count, len(heads))
        if hasattr(attention, "all_head_size"):  # BERT's has it, DistilBERT's does not
            attention.all_head_size = len(dimensions)
    setattr(model.config, KEPT, [{"heads": len(heads), "neurons": len(neurons)} for heads, neurons in kept])
    return model


def skeleton(folder: Path, attention: str = "sdpa") -> PreTrainedModel:
    """A classifier of the shape that a folder's config.json describes, shrunk or not, before its weights are loaded."""
    config = reading.parsed(folder)
    model = AutoModelForSequenceClassification.from_config(
        config, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False
    )
    if counts := getattr(config, KEPT, None):
        # Which ones were kept is in the weights; here just the shapes have to be theirs.
        shrink(model, [Kept(list(range(count["heads"])), list(range(count["neurons"]))) for count in counts])
    return model.eval()


def load_classifier(folder: Path, attention: str = "sdpa") -> PreTrainedModel:
    """The sequence classifier in a folder that this project wrote, shrunk or not, in float32 and evaluation mode.

    Raises:
        PipelineError: a file is missing or damaged, or the weights have other shapes than config.json says.
    """
    reading.check(folder)
    if not hasattr(reading.parsed(folder), KEPT):
        return checkpoints.load_classifier(folder, attention=attention)
    model = skeleton(folder, attention)
    try:
        load_model(model, folder / checkpoints.WEIGHTS, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise PipelineError(
            f"{folder / checkpoints.WEIGHTS} does not fit `{KEPT}` of {folder / 'config.json'}: {reason}"
        ) from None
    reading.check_loaded(model, folder, ())
    return model.eval()
