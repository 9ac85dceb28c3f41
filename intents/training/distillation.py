"""Knowledge distillation from cached teacher logits: the loss, and the training run that everything learns by."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core.settings import between
from intents.data.corpus import Corpus
from intents.training import trainer
from intents.training.encoding import encode
from intents.training.unlabelled import Unlabelled, squared_error, with_unlabelled

# The highest temperature that says something. As it rises, T² · KL goes to the squared error of the centred logits
# (Hinton et al., section 2.1); further up, the differences that are squared drown in float32's rounding.
HOTTEST = 1000


@dataclass(frozen=True, kw_only=True)
class Distillation(trainer.Schedule):
    """How a model learns from a teacher: L = alpha · CE + (1 − alpha) · KD, over a schedule."""

    answers: str  # the file of the teacher's logits
    alpha: float = between(0, 1)  # weight of the cross-entropy with the labels
    temperature: float = between(0, HOTTEST, open_low=True)  # softens both distributions


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


class DistillationTrainer(trainer.FiniteTrainer):
    """A Trainer whose training rows carry `teacher_logits`; without them (evaluation) the loss is CE alone.

    Args:
        alpha, temperature: of the loss alpha · CE + (1 − alpha) · KD.
        logits_alone: the loss is the squared error of the logits instead.
        emphasis: of that error, on likely answers (`squared_error`).
    """

    def __init__(
        self, *, alpha: float, temperature: float, logits_alone: bool, emphasis: float = 0.0, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.alpha, self.temperature, self.logits_alone, self.emphasis = alpha, temperature, logits_alone, emphasis

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
        if teacher is not None and self.logits_alone:
            loss = squared_error(outputs.logits, teacher, self.emphasis, self.temperature)
        elif teacher is not None:
            softened = distillation_loss(outputs.logits, teacher, self.temperature)
            loss = self.alpha * loss + (1 - self.alpha) * softened
        return (loss, outputs) if return_outputs else loss


def distil(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    data: Corpus,
    teacher_logits: np.ndarray,
    settings: Distillation,
    run: trainer.Run,
    scratch: Path,
    *,
    unlabelled: Unlabelled | None = None,
    logits_alone: bool = False,
    emphasis: float = 0.0,
    **options: Any,
) -> trainer.Log:
    """Train `model` in place, on the labels and on what the teacher said.

    Args:
        teacher_logits: of the training queries, (queries, intents + 1).
        scratch: where an interrupted run left its checkpoints, and this one keeps its own.
        unlabelled: further queries to learn from, which need `logits_alone`.
        logits_alone: learn the teacher's logits by their squared error, and no labels.
        emphasis: of that error, on the answers that the teacher finds likely.
        options: of `trainer.train`, such as callbacks.

    Returns:
        The Trainer's log.
    """
    rows = encode(data, "train", tokenizer, teacher_logits)
    if unlabelled is not None:
        rows = with_unlabelled(rows, *unlabelled, tokenizer)
    engine = partial(
        DistillationTrainer,
        alpha=settings.alpha,
        temperature=settings.temperature,
        logits_alone=logits_alone,
        emphasis=emphasis,
    )
    return trainer.train(
        model,
        tokenizer,
        rows,
        encode(data, "validation", tokenizer),
        schedule=settings,
        run=run,
        scratch=scratch,
        engine=engine,
        **options,
    )
