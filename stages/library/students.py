"""The student before and during its training: what it starts from, and one run of distillation from cached logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import checkpoints, distillation, encoding, splits, training
from stages.library.errors import PipelineError
from stages.library.settings import above, between


@dataclass(frozen=True, kw_only=True)
class Distill(training.Schedule):
    alpha: float = between(0, 1)  # weight of the labels; 1 - alpha is the teacher's
    temperature: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Student:
    layers: list[int] | None  # of the teacher, counted from 0; or null, and
    checkpoint: str | None  # a local folder or a Hub id to start from
    revision: str | None
    sha256: str | None


def source(student: Student, teacher: Path) -> Path:
    """The folder that the student starts from: the teacher's, or that of a checkpoint of its own."""
    if (student.layers is None) == (student.checkpoint is None):
        raise PipelineError("one of `student.layers` and `student.checkpoint` must be given, and the other be null")
    if student.checkpoint is None:
        return teacher
    return checkpoints.locate(student.checkpoint, None, student.revision, student.sha256)


def initial(
    student: Student, teacher: Path, intents: splits.Intents
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The student before training: layers of the teacher with its head, or a checkpoint with a fresh one."""
    folder, tokenizer = source(student, teacher), checkpoints.load_tokenizer(teacher)
    if student.layers is not None:
        return distillation.keep_layers(checkpoints.load_classifier(folder), student.layers), tokenizer
    return (
        checkpoints.load_classifier(folder, intents),
        checkpoints.load_tokenizer(folder, tokenizer.model_max_length),
    )


def distil(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Mapping[str, list[splits.Row]],
    intents: splits.Intents,
    teacher_logits: np.ndarray,
    distill: Distill,
    run: training.Run,
    scratch: Path,
) -> list[dict[str, float]]:
    """Train `model` in place, on the labels and on what the teacher said.

    Args:
        rows: of the splits train and validation.
        teacher_logits: of the training queries, (queries, intents + 1).
        scratch: where an interrupted run left its checkpoints, and this one keeps its own.

    Returns:
        The Trainer's log.
    """
    return training.train(
        model,
        tokenizer,
        encoding.encode(rows["train"], tokenizer, intents, teacher_logits),
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=distill,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        alpha=distill.alpha,
        temperature=distill.temperature,
    )
