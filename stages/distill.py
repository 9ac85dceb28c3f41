"""distill: a student learns the teacher's answers, and how sure it was of the others.

Call: python -m stages.distill STUDENT, with STUDENT a section of `student`.
In:   data/clinc/, models/teacher/ (its layers, word vectors and tokenizer), a teacher's cached logits; or, for a
      student that learns from unlabelled queries too, data/augmented/.
Out:  models/STUDENT/ (a Hugging Face model folder) and its logits.
"""

import shutil
from pathlib import Path

import numpy as np

from intents.core import files, paths, settings, variants
from intents.core.errors import program
from intents.core.variants import TEACHER, Variant
from intents.data import augmented, logits
from intents.data.corpus import Corpus
from intents.models import checkpoints, folder
from intents.training import student, trainer
from intents.training.distillation import Distillation, distil
from intents.training.student import Objective, Student
from intents.training.unlabelled import Unlabelled


def lessons(chosen: Student, name: str) -> tuple[np.ndarray, Unlabelled | None, list[Path]]:
    """A teacher's answers to the training queries, those to unlabelled ones, and the files that they are from."""
    if Path(chosen.answers) != paths.AUGMENTED:
        return logits.lesson(chosen.answers, f"student.{name}.answers"), None, [Path(chosen.answers)]
    texts, answers = augmented.load()
    read = [paths.AUGMENTED / name for name in (augmented.QUERIES, augmented.ANSWERS)]
    return answers["train"], Unlabelled(texts, answers["unlabelled"]), read


def main(name: str) -> None:
    variants.student(name)
    chosen = settings.load(Student, f"student.{name}")
    lesson = chosen.lesson(settings.load(Distillation, "distill"))
    run = chosen.run(settings.load(trainer.Run, "run"))

    data = Corpus()
    teacher_logits, unlabelled, answers = lessons(chosen, name)
    teacher = files.require(Variant(TEACHER).folder, Variant(TEACHER).made_by)
    trainer.seed_everything(run)
    model, tokenizer = student.initial(chosen, name, teacher, data)
    weights = student.source(chosen, name, teacher) / checkpoints.WEIGHTS
    scratch = trainer.scratch_folder(name, lesson, chosen, run, weights, *answers, *data.learnt_from)
    alone = chosen.objective is Objective.logits
    log = distil(
        model,
        tokenizer,
        data,
        teacher_logits,
        lesson,
        run,
        scratch,
        unlabelled=unlabelled,
        logits_alone=alone,
        emphasis=chosen.emphasis,
    )

    folder.publish(name, data, folder.trained(model, tokenizer, data))
    trainer.write_history(name, log)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    program(main, __doc__, trains=True)
