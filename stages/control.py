"""control: what distilling bought. The same student, trained on the labels alone, and again on the teacher's answers.

Call: python -m stages.control SEED.
In:   data/clinc/, data/teacher/, the cached logits of the teacher and of the student.
Out:  data/control-SEED/ (the student trained without the teacher's answers, alpha 1), its logits, and its figures
      beside those of a student distilled from the same seed.

Both start from the teacher's layers and head: what is compared is the loss, not all that the student owes the teacher.

One pair of runs says little: another seed moves accuracy by as much as many a technique does. So each seed of
`control.seeds` has a pair of its own.
"""

import argparse
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import (
    checkpoints,
    logits,
    out_of_scope,
    quality,
    settings,
    splits,
    statistics,
    students,
    trained,
    training,
)
from stages.library.artifacts import require
from stages.library.errors import PipelineError, run_program
from stages.library.settings import at_least

CLINC = Path("data/clinc")
TEACHER = Path("data/teacher")
MADE_BY = "dvc repro finetune-teacher"


@dataclass(frozen=True, kw_only=True)
class Control:
    seeds: list[int]
    bootstrap_samples: int = at_least(100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    seed = parser.parse_args().seed
    if seed < 0:
        raise PipelineError(f"`control.seeds` has {seed}; allowed: whole numbers, 0 or more")
    samples = settings.load(Control, "control").bootstrap_samples
    distill = settings.load(students.Distill, "distill")
    student = settings.load(students.Student, "student")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    evaluated = {split: rows[split] for split in ("validation", "test")}
    labels = {split: splits.labels(evaluated[split], intents) for split in evaluated}
    teacher_logits = logits.load("teacher", MADE_BY)["train"]
    weights = students.source(student, require(TEACHER, MADE_BY)) / checkpoints.WEIGHTS
    read = (weights, logits.path("teacher"), *splits.files(CLINC))
    scratches = []

    def train(distill: students.Distill) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        seeded = dataclasses.replace(run, seed=seed)
        training.seed_everything(seeded)
        model, tokenizer = students.initial(student, TEACHER, intents)
        scratches.append(training.scratch_folder("control", distill, student, seeded, *read))
        students.distil(model, tokenizer, rows, intents, teacher_logits, distill, seeded, scratches[-1])
        return model.eval(), tokenizer

    def right(answers: dict[str, np.ndarray], threshold: float) -> np.ndarray:
        return out_of_scope.decide(answers["test"], threshold) == labels["test"]

    # With the seed of the run, the distilled student is the one that the stage distill made.
    if seed == run.seed:
        taught = logits.load("student", "dvc repro distill")
    else:
        taught = trained.answers_of(*train(distill), evaluated)
    name = f"control-{seed}"
    model, tokenizer = train(dataclasses.replace(distill, alpha=1.0))
    answers, figures = trained.save(name, model, tokenizer, evaluated, intents, rule)
    threshold, distilled = quality.assess(taught, labels, rule.rate)
    gain, interval = statistics.paired_difference(
        right(taught, threshold), right(answers, figures["threshold"]), samples, seed
    )
    compared = {"accuracy_with_rule": distilled["accuracy_with_rule"], "gain": gain, "gain_interval": list(interval)}
    quality.write(name, figures | {"distilled": compared})
    for scratch in scratches:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
