"""finetune-teacher: a pretrained encoder becomes the intent classifier that everything else is measured against.

Call: python -m stages.finetune_teacher TEACHER, with TEACHER `teacher`, or `teacher-NAME` for the second teacher.
In:   data/clinc/, a pretrained checkpoint.
Out:  models/TEACHER/ (a Hugging Face model folder) and its logits for every query, those of training only if it
      `teaches`. They are computed once: distilling and pruning read them and never run the teacher again.
"""

import shutil
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.core import settings
from intents.core.errors import PipelineError, program
from intents.core.settings import at_least, between
from intents.core.variants import TEACHER
from intents.data import corpus
from intents.data.corpus import Corpus
from intents.models import checkpoints, families, folder, pooled, reading
from intents.models.carried import CARRIERS
from intents.training import student, together, trainer
from intents.training.encoding import encode
from intents.training.student import Student

Pooling = Enum("Pooling", ["mean", "cls"])
Head = Enum("Head", ["cosine", "linear"])


@dataclass(frozen=True, kw_only=True)
class Teacher(trainer.Schedule):
    checkpoint: str  # a local folder or a Hub id
    package: str | None  # of intents/models/carried.py: Python packages that carry the same files
    revision: str | None  # the Hub commit
    sha256: str | None  # of model.safetensors
    licence: str | None  # of the checkpoint, as its model card names it; the card of what is deployed repeats it
    max_length: int = at_least(8)  # tokens; longer queries are cut
    out_of_scope_weight: float = between(0, 10_000, open_low=True)  # of such a query in the loss; others: 1
    pooling: Pooling | None  # what of the encoder's token vectors the head reads; null: the checkpoint's own classifier
    head: Head | None  # null with `pooling`: null
    head_rate: float = between(0, 1000, open_low=True)  # how much faster a head over pooled vectors learns
    teaches: bool  # whether it answers the training queries too, for students to learn from


def weighted_cross_entropy(outputs: Any, labels: torch.Tensor, *, weight: float, **_: Any) -> torch.Tensor:
    """Cross-entropy in which the out-of-scope class, the last, counts `weight` times.

    Training holds one out-of-scope query in sixty, traffic far more: counted equally, they are hardly learnt.

    Args:
        outputs: with logits (batch, labels).
        labels: (batch,).
    """
    logits = outputs["logits"].float()
    weights = torch.ones(logits.shape[-1], device=logits.device)
    weights[-1] = weight
    loss = functional.cross_entropy(logits, labels, weight=weights)
    return loss * together.share(weights[labels].sum())


def initial(teacher: Teacher, source: Path, data: Corpus) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The teacher before training: a pretrained encoder with a fresh head.

    The rows of a cosine head begin at the class means of the pretrained encoder's vectors.
    """
    tokenizer = checkpoints.load_tokenizer(source, teacher.max_length)
    if teacher.pooling is None or teacher.head is None:
        return checkpoints.load_classifier(source, data.intents), tokenizer
    names = data.intents.names
    model = pooled.PooledClassifier.from_encoder(
        source,
        pooling=teacher.pooling.name,
        head=teacher.head.name,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: label for label, name in enumerate(names)},
    )
    if teacher.head is Head.cosine:
        means = pooled.class_means(model, tokenizer, data.texts("train"), data.labels("train").tolist())
        with torch.no_grad():
            model.head.weight.copy_(means)  # type: ignore[operator,union-attr]
    return model, tokenizer


def checked(section: str) -> Teacher:
    """The settings of a teacher.

    Raises:
        PipelineError: they contradict each other.
    """
    teacher = settings.load(Teacher, section)
    carrier = CARRIERS.get(teacher.package or "")
    if teacher.package and (carrier is None or carrier.checkpoint != teacher.checkpoint):
        allowed = ", ".join(f"{name} for {one.checkpoint}" for name, one in CARRIERS.items())
        raise PipelineError(
            f"`{section}.package` is {teacher.package!r}, which does not carry `{section}.checkpoint`, "
            f"{teacher.checkpoint!r}; allowed: null, or {allowed}"
        )
    if (teacher.pooling is None) != (teacher.head is None):
        raise PipelineError(f"`{section}.pooling` and `{section}.head` must both be given, or both be null")
    return teacher


def check(teacher: Teacher, source: Path, section: str, *, converted: bool) -> None:
    """Raise a PipelineError, before anything is trained, if the checkpoint is not one for the stages that follow.

    Args:
        converted: students take layers and words of it, and it is exported; a second teacher's answers alone are used.
    """
    config = reading.parsed(source)
    if converted:
        also = "; as `second_teacher`, whose answers alone are used, any encoder"
        families.check_family(config, f"{section}.checkpoint", also)
    families.check_length(config, teacher.max_length, f"{section}.max_length", teacher.checkpoint)
    if converted:
        tokenizer = checkpoints.load_tokenizer(source, teacher.max_length)
        for name, chosen in settings.ahead(Student, "student").items():
            student.check(chosen, name, families.encoder_of(config), tokenizer)


def main(name: str = TEACHER) -> None:
    teacher = checked("teacher" if name == TEACHER else "second_teacher")
    run = settings.load(trainer.Run, "run")

    data = Corpus()
    source = checkpoints.locate(teacher.checkpoint, teacher.package, teacher.revision, teacher.sha256)
    section = "teacher" if name == TEACHER else "second_teacher"
    check(teacher, source, section, converted=name == TEACHER)
    trainer.seed_everything(run)
    bfloat16 = trainer.in_bfloat16(run)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        model, tokenizer = initial(teacher, source, data)
        families.check_tokenizer(model, tokenizer, source)

    scratch = trainer.scratch_folder(name, teacher, run, source / checkpoints.WEIGHTS, *data.learnt_from)
    encoded = {split: encode(data, split, tokenizer) for split in ("train", "validation")}
    loss = partial(weighted_cross_entropy, weight=teacher.out_of_scope_weight)
    optimizer = trainer.adamw(model, teacher, pooled.in_head, teacher.head_rate * teacher.learning_rate)
    log = trainer.train(
        model, tokenizer, **encoded, schedule=teacher, run=run, scratch=scratch, loss=loss, optimizer=optimizer
    )

    bfloat16 = bfloat16 and name != TEACHER  # the second teacher is not converted
    splits = corpus.SPLITS if teacher.teaches else corpus.JUDGED
    folder.publish(name, data, folder.trained(model, tokenizer, data, splits=splits, bfloat16=bfloat16))
    trainer.write_history(name, log)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    program(main, __doc__, trains=True)
