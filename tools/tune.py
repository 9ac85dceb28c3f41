"""tune: distillation's epochs, alpha and temperature searched for the best accuracy on validation; or students' shapes.

python -m tools.tune                    go on with the study that conf/tune.yaml names, until it has all its trials
python -m tools.tune --config shapes    the same with conf/shapes.yaml: shapes, for accuracy, latency and size at once
python -m tools.tune --storage URL      the same from as many processes and machines as you like: they share it

In:  data/clinc/ (training and validation), models/teacher/ (layers and tokenizer), the teacher's cached logits.
Out: conf/distill/tuned.yaml, an option of the group `distill`; reports/tune/distill/. With shapes:
     reports/tune/shapes/. No stage of the pipeline: a search takes hours, and what it finds is chosen by a person, with
     `dvc exp run -S distill=tuned`.
"""

import dataclasses
import logging
from pathlib import Path

import optuna
import yaml
from filelock import FileLock
from matplotlib import style
from optuna.trial import FrozenTrial, TrialState

from intents.core import files, paths
from intents.core.errors import Parser, PipelineError, run_program
from intents.data.corpus import Corpus
from intents.reports import style as pictures
from intents.training.finite import DivergedError
from tools.arguments import number
from tools.search import config, page, shapes, study, trials
from tools.search.config import Search

TUNED = Path("conf/distill/tuned.yaml")
REPORT = paths.REPORTS / "tune" / "distill"
LOCK = paths.DATA / ".tune" / "report.lock"
DPI = 120

log = logging.getLogger(__name__)


def write(found: optuna.Study, search: Search, task: trials.Task, queries: int) -> None:
    """conf/distill/tuned.yaml and reports/tune/distill/, from a finished study.

    Whose answers a student learns is left to the option `default`, which goes by `variants.answers`.

    Args:
        queries: of the validation split.
    """
    best = found.best_trial
    tuned = dataclasses.replace(task.distillation, **{name: round(value, 6) for name, value in best.params.items()})
    table = page.table(found)
    comment = (
        f"# Written by `make tune`: trial {best.number} of the {len(table)} of study {found.study_name!r}, "
        f"{best.value:.2%} on validation.\n# How it was found: reports/tune/distill/README.md\n"
    )
    chosen = {key: value for key, value in dataclasses.asdict(tuned).items() if key != "answers"}
    files.write_text(TUNED, comment + yaml.safe_dump({"defaults": ["default"], **chosen}, sort_keys=False))
    style.use(pictures.STYLE)
    with files.new_folder(REPORT) as folder:
        table.to_csv(folder / "trials.csv", index=False, lineterminator="\n")
        pictures.save(page.history(table), folder / "history.png", DPI)
        pictures.save(page.plane(table), folder / "plane.png", DPI)
        pictures.save(page.importance(found), folder / "importance.png", DPI)
        files.write_text(folder / "README.md", page.page(found.study_name, search.seed, table, task.current, queries))


def complete(found: optuna.Study) -> bool:
    return bool(found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def progress(found: optuna.Study, trial: FrozenTrial, trials: int) -> str:
    """How a trial ended, how many of `trials` are done, and the best so far."""
    if study.FAILED in trial.user_attrs:
        ended = f"failed: {trial.user_attrs[study.FAILED]}"
    else:
        ended = f"{trial.state.name.lower()} at {100 * (trial.value or 0):.2f} %"
    done = sum(map(study.finished, found.get_trials(deepcopy=False)))
    best = f", best {100 * found.best_value:.2f} % (trial {found.best_trial.number})" if complete(found) else ""
    return f"trial {trial.number}: {ended}; {done} of {trials} done{best}"


def main() -> None:
    parser = Parser("tools.tune", __doc__)
    parser.add_argument("--config", choices=("tune", "shapes"), default="tune", help="the file of conf/ to go by")
    parser.add_argument("--trials", type=number(int, 1, 10**6), help="finished trials that the study is to have")
    parser.add_argument("--storage", help="URL of the database that the workers share")
    parser.add_argument("--study", help="the study's name")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    if given.pop("config") == "shapes":
        shapes.search(**given)
        return
    search, space, pruner = config.load(**given)
    task = trials.Task.load()
    # It shows a traceback of each failure, and each is shown or raised here anyway.
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    inputs = task.inputs(space)
    url = study.parse(search.storage)
    storage = study.open_storage(url, search.heartbeat)
    with study.storage_errors(url):
        found = study.open_study(
            storage,
            search.study,
            inputs,
            first=task.current if space.holds(task.current) else None,
            sampler=study.TrialSeededSampler(search.seed, search.startup),
            pruner=optuna.pruners.PercentilePruner(
                pruner.keep, n_startup_trials=search.startup, n_warmup_steps=round(10 * pruner.warmup)
            ),
        )
        for trial in study.work(found, trials.objective(task, space), search.trials, DivergedError):
            log.info("%s", progress(found, trial, search.trials))
        if not complete(found):
            raise PipelineError(
                f"all {search.trials} trials of study {search.study!r} diverged; lower `distill.learning_rate`, or "
                f"give the search another space in {config.CONFIG}, and begin a new study with --study"
            )
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(LOCK):  # workers in one folder end together, and write the same
            write(found, search, task, len(Corpus().texts("validation")))
    print((REPORT / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
