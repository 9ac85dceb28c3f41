"""study: a search in a database, shared by its workers, that loses no trial."""

import re
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.trial import Trial, TrialState

from intents.core.errors import PipelineError
from intents.training.finite import DivergedError
from tools.search import study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[..., optuna.Study]:
    """Opens the study as a new process would."""

    def open_again(inputs: dict[str, str] | None = None, seed: int = 0, name: str = "s") -> optuna.Study:
        return study.open_study(
            study.open_storage(study.parse(f"sqlite:///{tmp_path}/new/study.db"), heartbeat=60),
            name,
            inputs or {"data": "1"},
            first={"x": 0.25},
            sampler=study.TrialSeededSampler(seed, startup=2),
            pruner=NopPruner(),
        )

    return open_again


def parabola(trial: Trial) -> float:
    return 1 - (trial.suggest_float("x", 0, 1) - 0.7) ** 2


def states(found: optuna.Study) -> list[str]:
    return [trial.state.name for trial in found.get_trials()]


def test_it_begins_with_the_first_parameters_and_ends_with_as_many_trials_as_asked_for(reopen: Callable) -> None:
    found = reopen()
    done = list(study.work(found, parabola, 3, DivergedError))
    assert [trial.number for trial in done] == [0, 1, 2]
    assert done[0].params == {"x": 0.25}
    assert list(study.work(reopen(), parabola, 3, DivergedError)) == []
    assert [trial.number for trial in study.work(reopen(), parabola, 5, DivergedError)] == [3, 4]


def test_what_is_drawn_depends_on_the_seed_and_not_on_how_often_the_search_was_stopped(reopen: Callable) -> None:
    drawn = {}
    for name, seed, steps in (("whole", 0, [5]), ("stopped", 0, [1, 2, 3, 4, 5]), ("other", 1, [3])):
        for trials in steps:
            list(study.work(reopen(name=name, seed=seed), parabola, trials, DivergedError))
        drawn[name] = [trial.params["x"] for trial in reopen(name=name).get_trials()]
    assert drawn["whole"] == drawn["stopped"]
    assert len(set(drawn["whole"])) == 5  # with one seed for each process, the second would repeat the first
    assert not set(drawn["whole"][1:]) & set(drawn["other"][1:])


def test_an_interrupted_trial_is_run_again_with_its_parameters_and_reports(reopen: Callable) -> None:
    def interrupted(trial: Trial) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            trial.report(0.5, step=1)
            raise KeyboardInterrupt
        return 1.0

    found = reopen()
    with pytest.raises(KeyboardInterrupt):
        list(study.work(found, interrupted, 3, DivergedError))
    assert states(found) == ["COMPLETE", "FAIL", "WAITING"]

    origins = {}

    def resumed(trial: Trial) -> float:
        origins[trial.number] = study.origin(trial)
        return parabola(trial)

    list(study.work(reopen(), resumed, 3, DivergedError))
    failed, retried = found.get_trials()[1:3]
    assert states(found) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert (retried.params, retried.intermediate_values) == (failed.params, {1: 0.5})
    assert origins == {2: 1, 3: 3}


def test_a_trial_that_never_began_is_not_waited_for(reopen: Callable) -> None:
    """Its worker was killed between Optuna's making it and its first heartbeat, which Optuna would never notice."""
    found = reopen()
    list(study.work(found, parabola, 1, DivergedError))
    with pytest.warns(UserWarning, match="Heartbeat"):
        found.ask()
    list(study.work(found, parabola, 3, DivergedError))
    assert states(found) == ["COMPLETE", "RUNNING", "COMPLETE", "COMPLETE"]


def test_a_trial_that_another_worker_took_over_is_left_to_it(
    reopen: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    found = reopen()

    def silent(trial: Trial) -> float:
        if trial.number == 1:
            trial.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)  # as another worker does
            trial.report(0.5, step=1)
        return parabola(trial)

    assert [trial.number for trial in study.work(found, silent, 3, DivergedError)] == [0, 2, 3]
    assert "trial 1 was silent for too long here and went to another worker" in caplog.text


def test_a_trial_that_diverges_is_recorded_as_failed_and_the_search_goes_on(reopen: Callable) -> None:
    def diverging(trial: Trial) -> float:
        value = parabola(trial)
        if trial.number in (0, 2):
            raise DivergedError("training diverged: the loss is nan")
        return value

    found = reopen()
    ended = [trial.number for trial in study.work(found, diverging, 4, DivergedError)]
    assert ended == [0, 1, 2, 3]  # each counts: parameters that diverge would do so again
    assert states(found) == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert found.get_trials()[2].user_attrs[study.FAILED] == "training diverged: the loss is nan"
    assert [trial.number for trial in study.work(reopen(), parabola, 5, DivergedError)] == [4]


def test_a_search_in_which_every_trial_diverges_ends(reopen: Callable) -> None:
    def diverging(trial: Trial) -> float:
        raise DivergedError(f"with {parabola(trial)}")

    found = reopen()
    assert len(list(study.work(found, diverging, 3, DivergedError))) == 3
    assert states(found) == ["FAIL"] * 3


def test_a_defect_in_the_objective_ends_the_search(reopen: Callable) -> None:
    def defect(trial: Trial) -> float:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        list(study.work(reopen(), defect, 3, DivergedError))


def test_a_study_of_other_inputs_is_refused_by_their_names(reopen: Callable) -> None:
    list(study.work(reopen({"teacher": "1", "run": "a", "old": "x"}), parabola, 1, DivergedError))
    with pytest.raises(PipelineError, match="the trials of study 's' were made from another old, another teacher, and"):
        reopen({"teacher": "2", "run": "a"})
    assert len(reopen({"teacher": "1", "run": "a", "old": "x"}).get_trials()) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hunter2", "the storage is no URL that SQLAlchemy reads"),
        ("postgresql://ann:hunter2@host:port/db", "the storage is no URL that SQLAlchemy reads"),
        ("postgresql://ann:hunter2@127.0.0.1:1/db", r"ann:\*\*\*@127.0.0.1:1/db cannot be used: .*refused"),
        ("postgresql://ann@127.0.0.1:1/db?password=hunter2", "ann@127.0.0.1:1/db cannot be used: .*refused"),
        ("postgresql://ann:hunter2@127.0.0.1:1/db?no_such_option=hunter2", r"no_such_option"),
        ("oracle://ann:hunter2@host/db", r"the storage is of a kind \(oracle.*\) that needs No module named"),
        ("nothing://ann:hunter2@host/db", "Can't load plugin: sqlalchemy.dialects:nothing"),
        ("sqlite:////proc/study.db", "the storage sqlite:////proc/study.db cannot be used: unable to open"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_without_its_password(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "POLL_S", 0)
    with pytest.raises(PipelineError) as error:
        study.open_storage(study.parse(url), heartbeat=60)
    assert re.search(message, str(error.value)), error.value
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)
