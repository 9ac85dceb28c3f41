"""tune: distillation's epochs, alpha and temperature searched for the best accuracy on validation.

python -m stages.tune                    go on with the study that conf/tune.yaml names, until it has all its trials
python -m stages.tune --storage URL      the same from as many processes and machines as you like: they share it

In:  data/clinc/ (training and validation), data/teacher/ (layers and tokenizer), the teacher's cached logits.
Out: conf/distill/tuned.yaml, an option of the group `distill`; reports/tune/. No stage of the pipeline: a search
     takes hours, and what it finds is chosen by a person, with `dvc exp run -S distill=tuned`.
"""

import argparse
import copy
import dataclasses
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from filelock import FileLock
from matplotlib import style
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stages.library import (
    artifacts,
    distillation,
    encoding,
    figures,
    inference,
    logits,
    quality,
    search_report,
    settings,
    splits,
    students,
    study,
    training,
)
from stages.library.errors import PipelineError, run_program
from stages.library.settings import Settings, above, at_least, between

CONFIG = Path("conf/tune.yaml")
TUNED = Path("conf/distill/tuned.yaml")
REPORT = Path("reports/tune")
CLINC = Path("data/clinc")
TEACHER = Path("data/teacher")
MADE_BY = "dvc repro finetune-teacher"
LOCK = Path("data/.tune/report.lock")
DPI = 120

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Search:
    trials: int = at_least(1)
    seed: int = at_least(0)
    study: str
    storage: str
    heartbeat: int = at_least(1)  # seconds
    startup: int = at_least(1)


@dataclass(frozen=True, kw_only=True)
class Pruner:
    keep: float = between(0, 100)  # per cent
    warmup: float = between(0, 1)  # share of a trial's training


@dataclass(frozen=True, kw_only=True)
class Epochs:
    low: int = at_least(1)
    high: int = at_least(1)
    step: int = at_least(1)


@dataclass(frozen=True, kw_only=True)
class Alpha:
    low: float = between(0, 1)
    high: float = between(0, 1)
    step: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Temperature:
    low: float = above(0)
    high: float = above(0)
    step: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Space:
    epochs: Epochs
    alpha: Alpha
    temperature: Temperature

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether `values`, one for each parameter, lie within the ends."""
        return all(getattr(self, name).low <= value <= getattr(self, name).high for name, value in values.items())

    def draw(self, trial: Trial) -> dict[str, Any]:
        """The values of a trial; rounded, since 57 steps of 0.01 are 0.5700000000000001."""
        epochs, alpha, temperature = self.epochs, self.alpha, self.temperature
        return {
            "epochs": trial.suggest_int("epochs", epochs.low, epochs.high, step=epochs.step),
            "alpha": round(trial.suggest_float("alpha", alpha.low, alpha.high, step=alpha.step), 6),
            "temperature": round(
                trial.suggest_float("temperature", temperature.low, temperature.high, step=temperature.step), 6
            ),
        }


PARAMETERS = tuple(field.name for field in dataclasses.fields(Space))


def load_config(**overrides: Any) -> tuple[Search, Space, Pruner]:
    """conf/tune.yaml, every value checked.

    Args:
        overrides: of its section `search`.

    Raises:
        PipelineError: a value cannot be, a key is missing or unknown, or a range has its ends the wrong way round.
    """
    path = artifacts.require(CONFIG, "git checkout conf/tune.yaml")
    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise PipelineError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    _require_keys(config, ["search", "space", "pruner"], "the file")
    _require_keys(config.space, PARAMETERS, "space")
    space = Space(
        epochs=_section(Epochs, config.space.epochs, "space.epochs"),
        alpha=_section(Alpha, config.space.alpha, "space.alpha"),
        temperature=_section(Temperature, config.space.temperature, "space.temperature"),
    )
    for name in PARAMETERS:
        ends = getattr(space, name)
        if ends.low > ends.high:
            raise PipelineError(f"`tune.space.{name}.low` is {ends.low}; allowed: up to `high`, {ends.high}")
    written = _section(Search, config.search, "search")
    search = _section(Search, OmegaConf.create(dataclasses.asdict(written) | overrides), "search")
    return search, space, _section(Pruner, config.pruner, "pruner")


def _section(kind: type[Settings], values: Any, name: str) -> Settings:
    _require_keys(values, [field.name for field in dataclasses.fields(kind)], name)  # type: ignore[arg-type]
    return settings.parse(kind, values, f"tune.{name}")


def _require_keys(values: Any, keys: Sequence[str], name: str) -> None:
    found = set(values) if isinstance(values, DictConfig) else set()
    if wrong := sorted(found ^ set(keys), key=str):
        state = "has no" if wrong[0] in keys else "does not know"
        raise PipelineError(f"{CONFIG}: {name} {state} `{wrong[0]}`; its keys are: {', '.join(keys)}")


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
        accuracies = [entry[key] for entry in state.log_history if (key := f"eval_{training.METRIC}") in entry]
        epoch = len(accuracies)
        for tenth in range(10 * (epoch - 1) // self.epochs + 1, 10 * epoch // self.epochs + 1):
            accuracy = np.interp(tenth * self.epochs / 10, range(1, epoch + 1), accuracies)
            self.trial.report(float(accuracy), tenth)
        self.trial.set_user_attr(search_report.EPOCHS_RUN, epoch)
        if epoch < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned(f"behind after {epoch} of {self.epochs} epochs")


def prepare(
    run: training.Run, student: students.Student, distill: students.Distill, inputs: dict[str, str], space: Space
) -> Callable[[Trial], float]:
    """The objective: a trial to the accuracy on validation of the student that it distils.

    What all trials have in common is loaded here, once; each starts from the same student, as `distill` would.
    """
    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in ("train", "validation")}
    training.seed_everything(run)
    start, tokenizer = students.initial(student, TEACHER, intents)
    train = encoding.encode(rows["train"], tokenizer, intents, logits.load("teacher", MADE_BY)["train"])
    validation = encoding.encode(rows["validation"], tokenizer, intents)
    texts, labels = [row.text for row in rows["validation"]], splits.labels(rows["validation"], intents)

    def objective(trial: Trial) -> float:
        schedule = dataclasses.replace(distill, **space.draw(trial))
        log.info("trial %d: %s", trial.number, ", ".join(f"{name} {getattr(schedule, name):g}" for name in PARAMETERS))
        # A trial taken over goes on after its last full epoch, if the worker that died had this folder; else anew.
        scratch = training.scratch_folder("tune", schedule, inputs, trial.study.study_name, study.origin(trial))
        model = copy.deepcopy(start)
        try:
            training.train(
                model,
                tokenizer,
                train,
                validation,
                schedule=schedule,
                run=run,
                scratch=scratch,
                trainer=distillation.DistillationTrainer,
                arguments=distillation.DistillationArguments,
                callbacks=[Report(trial, schedule.epochs)],
                alpha=schedule.alpha,
                temperature=schedule.temperature,
            )
        except optuna.TrialPruned:
            shutil.rmtree(scratch)
            raise
        # In float32 and as `distill` measures it; the Trainer's own figure may be bfloat16's.
        answers = inference.logits_of(model.eval(), tokenizer, texts).argmax(axis=1)
        shutil.rmtree(scratch)
        return quality.accuracies(answers, labels, intents.out_of_scope)["accuracy"]

    return objective


def inputs_of(run: training.Run, student: students.Student, distill: students.Distill, space: Space) -> dict[str, str]:
    """What the trials of a study depend on besides what is searched: files by their digest, settings in words."""
    files = (
        logits.path("teacher"),
        *(artifacts.require(TEACHER, MADE_BY) / name for name in ("model.safetensors", "tokenizer.json")),
        *(CLINC / name for name in ("train.jsonl", "validation.jsonl", "intents.json")),
    )
    fixed = {name: value for name, value in dataclasses.asdict(distill).items() if name not in PARAMETERS}
    return {
        **{str(path): artifacts.sha256_of_file(artifacts.require(path, MADE_BY)) for path in files},
        "setting of run": repr(run),
        "setting of student": repr(student),
        "fixed setting of distill": repr(fixed),
        "search space": repr(space),
    }


def write(
    found: optuna.Study, search: Search, distill: students.Distill, current: Mapping[str, Any], queries: int
) -> None:
    """conf/distill/tuned.yaml and reports/tune/, from a finished study.

    Args:
        current: the searched parameters as params.yaml has them.
        queries: of the validation split.
    """
    best = found.best_trial
    values = {name: round(value, 6) for name, value in best.params.items()}
    tuned = dataclasses.replace(distill, **values)
    trials = search_report.table(found)
    comment = (
        f"# Written by `make tune`: trial {best.number} of the {len(trials)} of study {found.study_name!r}, "
        f"{best.value:.2%} on validation.\n# How it was found: reports/tune/README.md\n"
    )
    artifacts.write_text(TUNED, comment + yaml.safe_dump(dataclasses.asdict(tuned), sort_keys=False))
    style.use(figures.STYLE)
    with artifacts.new_folder(REPORT) as folder:
        trials.to_csv(folder / "trials.csv", index=False, lineterminator="\n")
        figures.save(search_report.history(trials), folder / "history.png", DPI)
        figures.save(search_report.plane(trials), folder / "plane.png", DPI)
        figures.save(search_report.importance(found), folder / "importance.png", DPI)
        artifacts.write_text(
            folder / "README.md", search_report.page(found.study_name, search.seed, trials, current, queries)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.tune", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, help="finished trials that the study shall have")
    parser.add_argument("--storage", help="URL of the database that the workers share")
    parser.add_argument("--study", help="the study's name")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    search, space, pruner = load_config(**given)
    run = settings.load(training.Run, "run")
    student = settings.load(students.Student, "student")
    distill = settings.load(students.Distill, "distill")
    # Of what fails it tells with a traceback, and it is raised here anyway.
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    current = {name: getattr(distill, name) for name in PARAMETERS}
    inputs = inputs_of(run, student, distill, space)
    url = study.parse(search.storage)
    storage = study.open_storage(url, search.heartbeat)
    with study.storage_errors(url):
        found = study.open_study(
            storage,
            search.study,
            inputs,
            first=current if space.holds(current) else None,
            sampler=study.TrialSeededSampler(search.seed, search.startup),
            pruner=optuna.pruners.PercentilePruner(
                pruner.keep, n_startup_trials=search.startup, n_warmup_steps=round(10 * pruner.warmup)
            ),
        )
        objective = prepare(run, student, distill, inputs, space)
        for trial in study.work(found, objective, search.trials):
            log.info(
                "trial %d: %s at %.2f %%; %d of %d done, best %.2f %% (trial %d)",
                *(trial.number, trial.state.name.lower(), 100 * (trial.value or 0)),
                *(len(found.get_trials(deepcopy=False, states=study.FINISHED)), search.trials),
                *(100 * found.best_value, found.best_trial.number),
            )
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(LOCK):  # workers in one folder end together, and write the same
            write(found, search, distill, current, len(splits.load(CLINC, "validation")))
    print((REPORT / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
