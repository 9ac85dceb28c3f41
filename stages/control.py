"""control: what distillation bought. The same student, trained on the labels alone, and again with the teacher.

Call: python -m stages.control SEED.
In:   data/clinc/, data/teacher/, the cached logits of the teacher and of the student.
Out:  data/control-SEED/ (the student trained without the teacher, alpha 1), its logits, and its figures beside those
      of a student distilled from the same seed.

One pair of runs says little: another seed moves accuracy by as much as many a technique does. So each seed of
`control.seeds` has a pair of its own.
"""

import argparse
import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import (
    checkpoints,
    inference,
    logits,
    model_folder,
    out_of_scope,
    quality,
    settings,
    splits,
    statistics,
    students,
    training,
)
from stages.library.artifacts import require
from stages.library.errors import run_program
from stages.library.settings import at_least

CLINC = Path("data/clinc")
TEACHER = Path("data/teacher")
MADE_BY = "dvc repro finetune-teacher"
EVALUATED = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Control:
    seeds: list[int]
    bootstrap_samples: int = at_least(100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", type=int)
    seed = parser.parse_args().seed
    samples = settings.load(Control, "control").bootstrap_samples
    distill = settings.load(students.Distill, "distill")
    student = settings.load(students.Student, "student")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    labels = {split: splits.labels(rows[split], intents) for split in EVALUATED}
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

    def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, np.ndarray]:
        texts = {split: [row.text for row in rows[split]] for split in EVALUATED}
        return {split: inference.logits_of(model, tokenizer, texts[split]) for split in EVALUATED}

    def assess(answers: dict[str, np.ndarray]) -> tuple[dict[str, Any], np.ndarray]:
        threshold, figures = quality.assess(answers, labels, rule.rate)
        return figures, out_of_scope.decide(answers["test"], threshold) == labels["test"]

    # With the seed of the run, the distilled student is the one that the stage distill made.
    taught = logits.load("student", "dvc repro distill") if seed == run.seed else answer(*train(distill))
    name = f"control-{seed}"
    model, tokenizer = train(dataclasses.replace(distill, alpha=1.0))
    with model_folder.new(Path("data") / name, model, tokenizer) as folder:
        answers = answer(checkpoints.load_classifier(folder), tokenizer)
        figures, right = assess(answers)
        out_of_scope.save_rule(folder, intents.names, figures["threshold"], rule.rate)
    logits.save(name, answers)
    distilled, distilled_right = assess(taught)
    gain, interval = statistics.paired_difference(distilled_right, right, samples, seed)
    compared = {"accuracy_with_rule": distilled["accuracy_with_rule"], "gain": gain, "gain_interval": list(interval)}
    quality.write(name, figures | model_folder.figures(Path("data") / name, model) | {"distilled": compared})
    for scratch in scratches:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
