"""distill: a student with fewer layers learns the teacher's answers, and how sure it was of the others.

In:  data/clinc/, data/teacher/ (its layers and tokenizer), the teacher's cached logits.
Out: data/student/ (a Hugging Face model folder), its logits on validation and test, and its figures.
"""

import shutil
from pathlib import Path

from stages.library import (
    checkpoints,
    logits,
    out_of_scope,
    quality,
    settings,
    splits,
    students,
    trained,
    training,
)
from stages.library.artifacts import require
from stages.library.errors import run_program

CLINC = Path("data/clinc")
TEACHER = Path("data/teacher")
HISTORY = Path("reports/training/student.csv")
MADE_BY = "dvc repro finetune-teacher"


def main() -> None:
    distill = settings.load(students.Distill, "distill")
    student = settings.load(students.Student, "student")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", MADE_BY)["train"]
    training.seed_everything(run)
    teacher = require(TEACHER, MADE_BY)
    model, tokenizer = students.initial(student, teacher, intents)
    weights = students.source(student, teacher) / checkpoints.WEIGHTS
    read = (weights, logits.path("teacher"), *splits.files(CLINC))
    scratch = training.scratch_folder("student", distill, student, run, *read)
    log = students.distil(model, tokenizer, rows, intents, teacher_logits, distill, run, scratch)

    evaluated = {split: rows[split] for split in ("validation", "test")}
    _, figures = trained.save("student", model, tokenizer, evaluated, intents, rule)
    quality.write("student", figures)
    training.write_csv(HISTORY, training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
