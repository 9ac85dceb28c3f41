"""Knowledge distillation from cached teacher logits."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, Trainer, TrainingArguments

from stages.library.errors import PipelineError


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T² · KL(softmax(teacher / T) ‖ softmax(student / T)), averaged over the batch.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2: the
    divergence is the teacher's from the student's, and T² keeps its gradients on the scale of the
    cross-entropy's when T changes.

    Args:
        student, teacher: logits, shape (batch, labels).
        temperature: T, above 0.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


@dataclass
class DistillationArguments(TrainingArguments):
    """TrainingArguments with the two numbers of the loss alpha · CE + (1 − alpha) · KD."""

    alpha: float = field(default=0.5, metadata={"help": "weight of the cross-entropy with the labels, 0 to 1"})
    temperature: float = field(default=2.0, metadata={"help": "softens both distributions, above 0"})


class DistillationTrainer(Trainer):
    """A Trainer whose training rows carry `teacher_logits`; without them (evaluation) the loss is CE alone."""

    args: DistillationArguments

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: list[str] = self._signature_columns  # type: ignore[assignment]
        if "teacher_logits" not in columns:
            columns.append("teacher_logits")

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,  # noqa: ARG002 (the Trainer passes it)
    ) -> Any:
        teacher = inputs.pop("teacher_logits", None)
        outputs = model(**inputs)
        loss = outputs.loss
        if teacher is not None:
            softened = distillation_loss(outputs.logits, teacher, self.args.temperature)
            loss = self.args.alpha * loss + (1 - self.args.alpha) * softened
        return (loss, outputs) if return_outputs else loss


def layers_of(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds a BERT-family encoder's layers, and the attribute they are under."""
    base = model.base_model
    for holder in ("encoder", "transformer"):  # BERT's and DistilBERT's names for it
        if hasattr(base, holder):
            return getattr(base, holder), "layer"
    raise PipelineError(f"a {model.config.model_type!r} model has no encoder layers that are known here")


def keep_layers(model: PreTrainedModel, kept: list[int]) -> PreTrainedModel:
    """`model` with those encoder layers alone (counted from 0), as DistilBERT was made from BERT.

    Sanh et al., "DistilBERT" (2019), section 3: initialized from the teacher by taking one layer out of two.

    Raises:
        PipelineError: a layer does not exist, or the list is not increasing.
    """
    holder, name = layers_of(model)
    layers = getattr(holder, name)
    if unknown := [layer for layer in kept if not 0 <= layer < len(layers)]:
        raise PipelineError(
            f"`student.layers` names layer {unknown[0]}, but the teacher has {len(layers)}: "
            f"allowed are 0 to {len(layers) - 1}"
        )
    if not kept or kept != sorted(set(kept)):
        raise PipelineError(f"`student.layers` is {kept}; allowed: one or more layers, each once, in increasing order")
    setattr(holder, name, nn.ModuleList(layers[layer] for layer in kept))
    model.config.num_hidden_layers = len(kept)
    return model
