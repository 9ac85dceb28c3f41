"""Small encoders of two families whose heads and neurons all matter, and what tests cut out of them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from intents.models.encoder import Kept

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
