"""A search that outlives its processes: an Optuna study in a database, shared by workers, resumed after a kill."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from intents.core.errors import PipelineError

log = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
INPUTS = "inputs"  # the study's attribute that says what its trials were made from
FAILED = "failed"  # a trial's attribute: why it came to no value, and will not with its parameters
STARTED = "started"  # a trial's attribute: its own number, set once its heart beats
MISSED_HEARTBEATS = 4
POLL_S = 1
# Seconds to wait for a database: for another worker's write to a file, for a server to answer.
PATIENCE = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 10}}
SECRETS = ("password", "sslpassword")  # what a URL's query may hold of them

# Heartbeats, of which Optuna says so at every use.
warnings.filterwarnings("ignore", category=ExperimentalWarning)

# Gives the trial of a dead worker, with its parameters and what it had reported, to the next worker that asks.
again = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)


class TrialSeededSampler(BaseSampler):
    """The tree-structured Parzen estimator, seeded for each trial with its number.

    With one seed for each process, every worker and every restart would draw the same first trials again.
    """

    def __init__(self, seed: int, startup: int) -> None:
        self._seed, self._startup = seed, startup

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = (self._seed * 10_000 + trial.number) % 2**32
        self._sampler = TPESampler(seed=seed, n_startup_trials=self._startup)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


def parse(url: str) -> URL:
    """A storage URL, taken apart.

    Raises:
        PipelineError: it cannot be.
    """
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # neither is shown: there may be a password in it
        raise PipelineError(
            "the storage is no URL that SQLAlchemy reads; allowed are the likes of sqlite:///data/.tune/study.db "
            "and postgresql://USER@HOST/DATABASE"
        ) from None


@contextmanager
def storage_errors(url: URL) -> Iterator[None]:
    """Turns what a database refuses into one line, in which the URL's passwords cannot be read."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
        for secret in (url.password, *(url.query.get(name) for name in SECRETS)):
            reason = reason.replace(str(secret), "***") if secret else reason
        shown = url.set(query={}).render_as_string(hide_password=True)
        raise PipelineError(f"the storage {shown} cannot be used: {reason}") from None


def open_storage(url: URL, heartbeat: int) -> RDBStorage:
    """The database at `url`; the folder of an SQLite file and the tables are made where they are missing.

    Args:
        heartbeat: seconds between two signs of life of a trial.

    Raises:
        PipelineError: the database cannot be reached, or its driver is not installed.
    """
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # Workers that open a new database in the same moment all try to make its tables; the second is
    # refused, and finds them there the next time.
    for attempts_left in (2, 1, 0):
        try:
            with storage_errors(url):
                return RDBStorage(
                    url.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": PATIENCE.get(backend, {}), "pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    grace_period=MISSED_HEARTBEATS * heartbeat,
                    heartbeat_stale_trial_callback=again,
                )
        except ImportError as error:
            raise PipelineError(f"the storage is of a kind ({url.drivername}) that needs {error.__cause__}") from None
        except PipelineError:
            if not attempts_left:
                raise
            time.sleep(POLL_S)
    raise AssertionError("the last attempt returns or raises")


def open_study(
    storage: RDBStorage,
    name: str,
    inputs: Mapping[str, str],
    first: Mapping[str, Any] | None,
    sampler: BaseSampler,
    pruner: BasePruner | None = None,
    directions: Sequence[Literal["maximize", "minimize"]] = ("maximize",),
) -> optuna.Study:
    """The study of that name; where there is none, a new one that begins with a trial of `first`.

    Args:
        inputs: what a trial's value depends on besides its parameters, {name: digest or text}.
        directions: one for each value of a trial.

    Raises:
        PipelineError: the study's trials were made from other inputs.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(directions),
        sampler=sampler,
        pruner=pruner,
        load_if_exists=True,
    )
    before = study.user_attrs.get(INPUTS)
    if before is None:
        if first is not None:
            study.enqueue_trial(dict(first), skip_if_exists=True)
        study.set_user_attr(INPUTS, dict(inputs))
    elif changed := sorted(key for key in before.keys() | inputs.keys() if before.get(key) != inputs.get(key)):
        raise PipelineError(
            f"the trials of study {name!r} were made from another {', another '.join(changed)}, and the figures would "
            "not compare: give a new study another name with --study, or undo the change to go on with this one"
        )
    return study


def origin(trial: Trial) -> int:
    """The number of the trial that this one repeats since a worker died, else its own."""
    retried = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial.study.get_trials()[trial.number])
    return trial.number if retried is None else retried


def finished(trial: FrozenTrial) -> bool:
    """Whether a trial came to its end, also where that is no value."""
    return trial.state in FINISHED or FAILED in trial.user_attrs


def work(
    study: optuna.Study,
    objective: Callable[[Trial], float | Sequence[float]],
    trials: int,
    failure: type[Exception],
) -> Iterator[FrozenTrial]:
    """Run trials until the study has `trials` finished ones, whichever worker runs them; yields those run here.

    At the end it waits for other workers' trials, in order to take over one whose worker dies. Two workers that
    take the last trial in the same instant make one more than asked for.

    Args:
        failure: what an objective raises where its parameters come to no value. The trial is recorded as failed, with
            the reason, and the search goes on; any other exception ends it.
    """

    ended: list[FrozenTrial] = []
    lost: list[int] = []

    def resumable(trial: Trial) -> float | Sequence[float]:
        trial.set_user_attr(STARTED, trial.number)
        try:
            return objective(trial)
        except KeyboardInterrupt:  # for Optuna a failure; a kill it would see by the heart that stopped
            again(study, study.get_trials()[trial.number])
            raise
        except failure as error:
            trial.set_user_attr(FAILED, str(error))
            raise
        except UpdateFinishedTrialError:
            lost.append(trial.number)
            raise

    while True:
        optuna.storages.fail_stale_trials(study)
        found = study.get_trials(deepcopy=False)
        # A worker killed before its trial's heart first beat leaves one that Optuna takes to be running for ever.
        running = sum(
            trial.state is TrialState.RUNNING and trial.user_attrs.get(STARTED) == trial.number for trial in found
        )
        waiting = any(trial.state is TrialState.WAITING for trial in found)
        if waiting or sum(map(finished, found)) + running < trials:
            try:
                study.optimize(
                    resumable, n_trials=1, catch=(failure,), callbacks=[lambda _, trial: ended.append(trial)]
                )
            except (UpdateFinishedTrialError, ValueError):  # Optuna's, on closing the trial
                if not lost:
                    raise
                log.warning("trial %d was silent for too long here and went to another worker", lost.pop())
                continue
            yield ended.pop()
        elif running:
            time.sleep(POLL_S)
        else:
            return
