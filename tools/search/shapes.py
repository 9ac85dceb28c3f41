"""The search over shapes: students trained from scratch, for accuracy, latency and size at once (conf/shapes.yaml)."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import optuna
from filelock import FileLock
from matplotlib import style
from optuna.trial import FrozenTrial, Trial

from intents.core import files, paths, settings, table
from intents.core.variants import TEACHER, Variant
from intents.data.corpus import Corpus
from intents.reports import style as pictures
from intents.training import student, trainer
from intents.training.distillation import distil
from intents.training.finite import DivergedError
from intents.training.student import Student
from tools.search import candidate, front, space, study
from tools.search.common import Task
from tools.search.space import SHAPE, Config

REPORT = paths.REPORTS / "tune" / "shapes"
LOCK = paths.DATA / ".tune" / "shapes.lock"
DPI = 120
DIRECTIONS: Final = ("maximize", "minimize", "minimize")  # accuracy, time as a multiple of the base student's, MiB

log = logging.getLogger(__name__)

Values = tuple[float, float, float]  # of a trial: accuracy, time as a multiple of the base student's, MiB


def objective(task: Task, config: Config) -> Callable[[Trial], Values]:
    """From a trial to the accuracy, the time and the size of the student that it trains.

    It raises DivergedError where a training diverges or a model's logits are not finite.
    """
    data = Corpus()
    teacher = Variant(TEACHER).folder
    teacher_logits, unlabelled = task.lessons()
    inputs = task.inputs(config.space)

    def initial(chosen: Student) -> tuple[Any, Any]:
        trainer.seed_everything(task.run)
        return student.initial(chosen, task.base.student, teacher, data)

    with tempfile.TemporaryDirectory() as folder:  # what a session has loaded it does not read again
        reference = task.conversion.served(*initial(task.student), data, Path(folder))

    def values(trial: Trial) -> Values:
        drawn = config.space.draw(trial)
        log.info("trial %d: %s", trial.number, ", ".join(f"{name} {value:g}" for name, value in drawn.items()))
        chosen = task.drawn(drawn)
        lesson = chosen.lesson(task.distillation)
        # A trial taken over goes on after its last full epoch, if the dead worker had this folder, else from the start.
        scratch = trainer.scratch_folder("tune", chosen, lesson, inputs, trial.study.study_name, study.origin(trial))
        model, tokenizer = initial(chosen)
        try:
            distil(
                model,
                tokenizer,
                data,
                teacher_logits,
                lesson,
                task.run,
                scratch,
                unlabelled=unlabelled,
                logits_alone=True,
                emphasis=chosen.emphasis,
            )
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                served = task.conversion.served(model.eval(), tokenizer, data, folder)
                size = files.size_mib(folder / candidate.MODEL)
                judged = candidate.judged(served, data, task.rule)
                time = known_time(trial, drawn)
                if time is None:
                    time = candidate.relative_time(served, reference, data, config.timing, config.search.seed)
        except DivergedError:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        trial.set_user_attr(front.ERROR, judged.error)
        trial.set_user_attr(front.TIME, time)
        return judged.accuracy, time, size

    return values


def known_time(trial: Trial, drawn: Mapping[str, Any]) -> float | None:
    """The time that an earlier trial of the same shape took: another measurement would differ by noise alone."""
    for other in trial.study.get_trials(deepcopy=False):
        if front.TIME in other.user_attrs and all(other.params[name] == drawn[name] for name in SHAPE):
            return float(other.user_attrs[front.TIME])
    return None


def students() -> list[str]:
    """The students of params.yaml that are trained from scratch."""
    names = [name for name in table.load().models if name == Variant(name).student != TEACHER]
    return [name for name in names if settings.load(Student, f"student.{name}").shape is not None]


def progress(found: optuna.Study, trial: FrozenTrial, config: Config) -> str:
    """How a trial ended, how many are done, and which are on the front so far."""
    ended = f"failed: {trial.user_attrs.get(study.FAILED)}"
    if trial.values:
        accuracy, time, size = trial.values
        ended = f"{100 * accuracy:.2f} %, {time:.2f} times the time of {config.base.student}, {size:.2f} MiB"
    done = sum(map(study.finished, found.get_trials(deepcopy=False)))
    best = ", ".join(str(one.number) for one in found.best_trials)
    return f"trial {trial.number}: {ended}; {done} of {config.search.trials} done, on the front: {best or 'none'}"


def search(**overrides: Any) -> None:
    """Go on with the study until it has all its trials; then write reports/tune/shapes/ and print its page.

    Args:
        overrides: of the section `search` of conf/shapes.yaml.
    """
    config = space.load(**overrides)
    task = Task.load(config.base)
    task.check_width(config.space)
    committed = front.committed(students(), config.base)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = study.parse(config.search.storage)
    inputs = task.inputs(config.space)
    with study.storage_errors(url):
        found = study.open_study(
            study.open_storage(url, config.search.heartbeat),
            config.search.study,
            inputs,
            first=task.current if config.space.holds(task.current) else None,
            sampler=study.TrialSeededSampler(config.search.seed, config.search.startup),
            directions=DIRECTIONS,
        )
        for trial in study.work(found, objective(task, config), config.search.trials, DivergedError):
            log.info("%s", progress(found, trial, config))
        rows = front.table(found, committed["p50_ms"][config.base.student])
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):  # workers in one folder end together, and write the same
        style.use(pictures.STYLE)
        with files.new_folder(REPORT) as folder:
            rows.to_csv(folder / "trials.csv", index=False, lineterminator="\n")
            pictures.save(front.picture(rows, committed), folder / "front.png", DPI)
            files.write_text(folder / "README.md", front.page(rows, committed, config, task.current))
    print((REPORT / "README.md").read_text(encoding="utf-8"))
