"""A trial: the main student distilled with the settings that the search draws, and its accuracy on validation."""

import copy
import dataclasses
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from intents.core import files, settings, table
from intents.core.errors import PipelineError
from intents.core.variants import TEACHER, Variant
from intents.data import corpus
from intents.data.corpus import Corpus
from intents.models import checkpoints, inference
from intents.training import student, trainer
from intents.training.distillation import Distillation, distil
from intents.training.finite import DivergedError
from intents.training.student import Objective, Student
from stages.distill import lessons
from tools.search import study
from tools.search.config import PARAMETERS, Space

EPOCHS_RUN = "epochs_run"  # a trial's attribute: the epochs that it trained for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What all trials of a study have in common, from params.yaml."""

    name: str  # of the student
    student: Student
    run: trainer.Run
    distillation: Distillation  # the section `distill`, in which the search replaces values

    @classmethod
    def load(cls) -> "Task":
        """The main student's.

        Raises:
            PipelineError: the student does not go by the searched values of `distill`.
        """
        name = table.load().student
        chosen = settings.load(Student, f"student.{name}")
        for key in PARAMETERS:
            if (value := getattr(chosen, key)) is not None:
                raise PipelineError(f"`student.{name}.{key}` is {value}; allowed in a search: null, for distill.{key}")
        if chosen.objective is not Objective.labels_and_divergence:
            raise PipelineError(
                f"`student.{name}.objective` is {chosen.objective.name}, which leaves no alpha and no temperature to "
                f"search; allowed: {Objective.labels_and_divergence.name}"
            )
        run = chosen.run(settings.load(trainer.Run, "run"))
        return cls(name, chosen, run, settings.load(Distillation, "distill"))

    @property
    def current(self) -> dict[str, Any]:
        """The searched values as params.yaml has them."""
        return {name: getattr(self.distillation, name) for name in PARAMETERS}

    def inputs(self, space: Space) -> dict[str, str]:
        """What a trial depends on besides what is searched: files by their digest, settings in words."""
        fixed = {key: value for key, value in dataclasses.asdict(self.distillation).items() if key not in PARAMETERS}
        return {
            **read(self.student, self.name),
            "setting of run": repr(self.run),
            "setting of student": repr(self.student),
            "fixed setting of distill": repr(fixed),
            "search space": repr(space),
        }


def read(chosen: Student, name: str) -> dict[str, str]:
    """The files that a student's training reads, {path: digest}."""
    teacher, data = Variant(TEACHER), Corpus()
    folder = files.require(teacher.folder, teacher.made_by)
    start = student.source(chosen, name, folder) / checkpoints.WEIGHTS
    _, _, answers = lessons(chosen, name)
    used = dict.fromkeys((*answers, folder / "tokenizer.json"), teacher.made_by)
    used |= dict.fromkeys((*data.learnt_from, data.folder / "intents.json"), corpus.MADE_BY)
    return {
        **{str(path): files.sha256_of_file(files.require(path, made_by)) for path, made_by in used.items()},
        "model to start from": files.sha256_of_file(files.require(start, teacher.made_by)),
    }


class Report(TrainerCallback):
    """Tells the study a trial's accuracy after each epoch, and ends a trial that has fallen behind.

    Trials differ in length, and the learning rate falls to zero over whatever length they have: after the same
    number of epochs the longer of two equals looks worse. So they are compared after the same tenths of their
    training: by interpolation between two epochs, and before the first by what that one ended with.
    """

    def __init__(self, trial: Trial, epochs: int) -> None:
        self.trial, self.epochs = trial, epochs

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer passes it)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        accuracies = [entry[key] for entry in state.log_history if (key := f"eval_{trainer.METRIC}") in entry]
        epoch = len(accuracies)
        for tenth in range(10 * (epoch - 1) // self.epochs + 1, 10 * epoch // self.epochs + 1):
            accuracy = np.interp(tenth * self.epochs / 10, range(1, epoch + 1), accuracies)
            self.trial.report(float(accuracy), tenth)
        self.trial.set_user_attr(EPOCHS_RUN, epoch)
        if epoch < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned(f"behind after {epoch} of {self.epochs} epochs")


def objective(task: Task, space: Space) -> Callable[[Trial], float]:
    """From a trial to the accuracy on validation of the student that it distils.

    What all trials have in common is loaded here, once; each starts from the same student, as `distill` would.
    """
    data = Corpus()
    teacher_logits, unlabelled, _ = lessons(task.student, task.name)
    inputs = task.inputs(space)
    trainer.seed_everything(task.run)
    start, tokenizer = student.initial(task.student, task.name, Variant(TEACHER).folder, data)

    def accuracy(trial: Trial) -> float:
        lesson = task.student.lesson(dataclasses.replace(task.distillation, **space.draw(trial)))
        log.info("trial %d: %s", trial.number, ", ".join(f"{name} {getattr(lesson, name):g}" for name in PARAMETERS))
        # A trial taken over goes on after its last full epoch if the dead worker had this folder, else from the start.
        scratch = trainer.scratch_folder("tune", lesson, inputs, trial.study.study_name, study.origin(trial))
        model = copy.deepcopy(start)
        common = (data, teacher_logits, lesson, task.run, scratch)
        try:
            distil(model, tokenizer, *common, unlabelled=unlabelled, callbacks=[Report(trial, lesson.epochs)])
        except (optuna.TrialPruned, DivergedError):
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        # In float32 and as `distill` measures it; the Trainer's own figure may be bfloat16's.
        answers = inference.logits_of(model.eval(), tokenizer, data.texts("validation")).argmax(axis=1)
        shutil.rmtree(scratch)
        return float((answers == data.labels("validation")).mean())

    return accuracy
