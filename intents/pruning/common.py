"""What the pruning techniques have in common: settings, and what each brings to the training run of the stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core.settings import between
from intents.training.distillation import Distillation
from intents.training.trainer import Log

Scope = Enum("Scope", ["layer", "model"])


class Lesson(NamedTuple):
    """What the pruned model is trained on."""

    train: Dataset  # input_ids, attention_mask, labels, teacher_logits
    tokenizer: PreTrainedTokenizerFast
    seed: int


class Outcome(NamedTuple):
    sparsity: float  # share of the encoder's weights that went
    layers: Mapping[str, Any]  # what went, layer by layer
    schedule: Log  # rows of step, due, sparsity


class Plan(NamedTuple):
    """What a technique brings to the training run, and what it has to say afterwards."""

    options: dict[str, Any]  # of trainer.train
    finish: Callable[[Log], Outcome]  # called with the Trainer's log; leaves an ordinary model


@dataclass(frozen=True, kw_only=True)
class Settings(Distillation):
    """The settings that every technique has; each adds its own, and says what it does with them."""

    student: str  # the student to prune, a section of `student`
    sparsity: float = between(0, 1, open_high=True)  # share of the encoder's weights that go
    scope: Scope  # whether scores compete within a layer or over the model

    def plan(self, model: PreTrainedModel, lesson: Lesson, key: str) -> Plan:
        """Prepare `model`, in place, to be pruned in training; or prune it here and now.

        Args:
            key: the section of params.yaml that the settings are from, for errors to name.

        Raises:
            PipelineError: the settings contradict each other.
        """
        raise NotImplementedError
