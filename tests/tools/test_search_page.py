"""page: the table, the pictures and the page of a search."""

import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tools.search import page
from tools.search.study import FAILED
from tools.search.trials import EPOCHS_RUN

CURRENT = {"epochs": 5, "alpha": 0.25, "temperature": 4.0}
DISTRIBUTIONS = {
    "epochs": IntDistribution(5, 10),
    "alpha": FloatDistribution(0, 1, step=0.01),
    "temperature": FloatDistribution(2, 20, step=0.5),
}
# Number by number: state, accuracy, alpha, epochs run. Trial 3 was cut off by a kill, and 6 is its second run.
TRIALS = [
    (TrialState.COMPLETE, 0.90, 0.25, 5),
    (TrialState.COMPLETE, 0.91, 0.50, 5),
    (TrialState.PRUNED, 0.80, 0.90, 2),
    (TrialState.FAIL, None, 0.57, 3),
    (TrialState.COMPLETE, 0.95, 0.10, 5),
    (TrialState.COMPLETE, 0.95, 0.11, 5),
    (TrialState.COMPLETE, 0.93, 0.5700000000000001, 5),
    (TrialState.COMPLETE, 0.94, 0.12, 5),
]


@pytest.fixture
def study() -> optuna.Study:
    made = optuna.create_study(direction="maximize")
    for state, accuracy, alpha, epochs_run in TRIALS:
        made.add_trial(
            create_trial(
                state=state,
                value=accuracy,
                params={"epochs": 5, "alpha": alpha, "temperature": 4.0},
                distributions=DISTRIBUTIONS,
                user_attrs={EPOCHS_RUN: epochs_run},
            )
        )
    return made


@pytest.fixture
def trials(study: optuna.Study) -> pd.DataFrame:
    return page.table(study)


def test_the_table_has_the_finished_trials(trials: pd.DataFrame) -> None:
    assert list(trials.columns) == ["trial", "state", "accuracy", "alpha", "epochs", "temperature", "epochs_run"]
    assert list(trials["trial"]) == [0, 1, 2, 4, 5, 6, 7]
    assert trials.set_index("trial").loc[6, "alpha"] == 0.57
    assert trials.set_index("trial").loc[2].to_dict() == {
        "state": "pruned",
        "accuracy": 0.80,
        "alpha": 0.9,
        "epochs": 5,
        "temperature": 4.0,
        "epochs_run": 2,
    }


def test_the_page_tells_the_size_the_best_five_and_todays_settings(trials: pd.DataFrame) -> None:
    text = page.page("s", 3, trials, CURRENT, queries=1900)
    assert "Study `s`, seed 3: 7 trials, 6 complete and 1 pruned, 32 epochs of training in all." in text
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["trial", "---", "4", "5", "7", "6", "1", "0 (params.yaml)"]
    assert "| 4 | 95.00 % | 5 | 0.1 | 4 |" in text
    assert "Best: **trial 4**, epochs 5, alpha 0.1, temperature 4." in text  # the earlier one of two that are equal
    assert "Not among them, since cut off and made again under another number: 3.\n" in text
    assert "over 1,900 queries, with a standard error of 0.50 points" in text  # √(0.95 · 0.05 / 1900)
    # No setting is called equal to another by that error.
    assert "two of them may be told apart where they lie closer together" in " ".join(text.split())


def test_the_history_shows_each_trial_and_the_best_until_then(trials: pd.DataFrame) -> None:
    axes = page.history(trials).axes[0]
    assert list(axes.lines[0].get_ydata()) == [0.90, 0.91, 0.95, 0.95, 0.95, 0.95]
    complete, pruned = (points.get_offsets().data.tolist() for points in axes.collections)
    assert [point[0] for point in complete] == [0, 1, 4, 5, 6, 7]
    assert pruned == [[2, 0.80]]


def test_the_plane_rings_the_best(trials: pd.DataFrame) -> None:
    pruned, complete, ring = page.plane(trials).axes[0].collections
    assert ring.get_offsets().data.tolist() == [[0.1, 4.0]]
    assert pruned.get_offsets().data.tolist() == [[0.9, 4.0]]
    assert len(complete.get_offsets()) == 6


def test_a_trial_that_diverged_has_a_row_without_an_accuracy(study: optuna.Study) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            params={"epochs": 5, "alpha": 0.3, "temperature": 20.0},
            distributions=DISTRIBUTIONS,
            user_attrs={FAILED: "training diverged"},
        )
    )
    table = page.table(study)
    last = table.iloc[-1]
    assert (last["trial"], last["state"], last["epochs_run"]) == (8, "diverged", 0)
    assert pd.isna(last["accuracy"])
    assert "8 trials, 6 complete, 1 pruned and 1 diverged," in page.page("s", 0, table, CURRENT, 3100)
    page.history(table)
    page.plane(table)


def test_the_importance_is_of_what_was_varied(study: optuna.Study) -> None:
    axes = page.importance(study).axes[0]
    shares = {
        label.get_text(): bar.get_width() for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)
    }
    assert shares.keys() == CURRENT.keys()
    assert shares["alpha"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)
    assert not axes.texts


def test_with_too_few_trials_the_picture_says_so() -> None:
    alone = optuna.create_study(direction="maximize")
    alone.add_trial(create_trial(value=0.9, params=CURRENT, distributions=DISTRIBUTIONS))
    (text,) = page.importance(alone).axes[0].texts
    assert text.get_text() == "too few trials to tell"
