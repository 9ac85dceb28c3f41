"""distill: a student with fewer layers learns the teacher's answers, and how sure it was of the others.

In:  data/clinc/, data/teacher/ (its layers and tokenizer), the teacher's cached logits.
Out: data/student/ (a Hugging Face model folder), its logits on validation and test, and its figures.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import (
    checkpoints,
    distillation,
    encoding,
    inference,
    logits,
    model_folder,
    out_of_scope,
    quality,
    settings,
    splits,
    training,
)
from stages.library.artifacts import require
from stages.library.errors import PipelineError, run_program
from stages.library.settings import above, between

CLINC = Path("data/clinc")
TEACHER = Path("data/teacher")
STUDENT = Path("data/student")
HISTORY = Path("reports/training/student.csv")
MADE_BY = "dvc repro finetune-teacher"


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


def initial_student(
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


def main() -> None:
    distill = settings.load(Distill, "distill")
    student = settings.load(Student, "student")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", MADE_BY)
    training.seed_everything(run)
    teacher = require(TEACHER, MADE_BY)
    model, tokenizer = initial_student(student, teacher, intents)

    weights = source(student, teacher) / checkpoints.WEIGHTS
    data = (logits.path("teacher"), CLINC / "train.jsonl")
    scratch = training.scratch_folder("student", distill, student, run, weights, *data)
    log = training.train(
        model,
        tokenizer,
        encoding.encode(rows["train"], tokenizer, intents, teacher_logits["train"]),
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=distill,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        alpha=distill.alpha,
        temperature=distill.temperature,
    )

    evaluated = ("validation", "test")
    with model_folder.new(STUDENT, model, tokenizer) as folder:
        model = checkpoints.load_classifier(folder)
        answers = {
            split: inference.logits_of(model, tokenizer, [row.text for row in rows[split]]) for split in evaluated
        }
        labels = {split: splits.labels(rows[split], intents) for split in evaluated}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save("student", answers)
    quality.write("student", figures | model_folder.figures(STUDENT, model))
    training.write_csv(HISTORY, training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
