"""What a search found, for a person: a table of its trials, three pictures and a page of text."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from intents.reports.markdown import percent, render
from intents.reports.markdown import table as markdown_table
from intents.reports.style import BLUE, GREY, RED
from tools.search.study import finished
from tools.search.trials import EPOCHS_RUN

TEMPLATES = Path(__file__).parents[1] / "templates"
COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"
SHOWN = 5  # of the best trials, in the text


def table(study: optuna.Study) -> pd.DataFrame:
    """A row per finished trial, by number: trial, state, accuracy, its parameters, epochs_run.

    Trials that a worker's death cut off are not in it; the ones that took them over are. A pruned trial's
    accuracy is the last that it reached; a diverged one has none.
    """
    states = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: PRUNED, TrialState.FAIL: DIVERGED}
    rows = [
        {
            "trial": trial.number,
            "state": states[trial.state],
            "accuracy": trial.value,
            **dict(sorted(trial.params.items())),
            EPOCHS_RUN: trial.user_attrs.get(EPOCHS_RUN, 0),
        }
        for trial in study.get_trials()
        if finished(trial)
    ]
    return pd.DataFrame(rows).round(6)


def history(trials: pd.DataFrame) -> Figure:
    """Accuracy of each trial in the order of their numbers, and the best until then."""
    complete, pruned = (trials[trials["state"] == state] for state in (COMPLETE, PRUNED))
    figure, axes = plt.subplots(figsize=(8, 4.5))
    axes.step(complete["trial"], complete["accuracy"].cummax(), where="post", color=RED, label="best so far")
    axes.scatter(complete["trial"], complete["accuracy"], color=BLUE, label="complete", zorder=3)
    axes.scatter(pruned["trial"], pruned["accuracy"], color=GREY, marker="x", label="pruned, where it stood")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("trial")
    axes.set_ylabel("accuracy on validation")
    axes.set_title("The search, trial by trial")
    axes.legend()
    return figure


def importance(study: optuna.Study) -> Figure:
    """How far the best quarter of the complete trials lies apart from all of them, in each parameter (PED-ANOVA).

    Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces" (IJCAI 2023), whose best tenth would be a trial or two here.
    """
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
    with warnings.catch_warnings(action="ignore"):  # that there are too few trials is said in the picture
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
    total = sum(found.values())
    names = sorted(found, key=lambda name: (found[name], name))
    figure, axes = plt.subplots(figsize=(8, 2.4))
    axes.barh(names, [found[name] / total if total else 0 for name in names], color=BLUE, height=0.6)
    if not total:
        axes.text(0.5, 0.5, "too few trials to tell", transform=axes.transAxes, ha="center", va="center")
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of the importance (PED-ANOVA)")
    complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    axes.set_title(f"Where the best quarter of {complete} trials differs from all of them")
    return figure


def plane(trials: pd.DataFrame) -> Figure:
    """Every trial where it lies in alpha and temperature: colour for accuracy, area for epochs, the best ringed.

    Points alone: between so few of them a contour would be invented.
    """
    complete, pruned = (trials[trials["state"] == state] for state in (COMPLETE, PRUNED))
    best = trials.loc[complete["accuracy"].idxmax()]
    figure, axes = plt.subplots(figsize=(8, 5.5))
    axes.scatter(pruned["alpha"], pruned["temperature"], color=GREY, marker="x", s=40, label="pruned")
    points = axes.scatter(
        complete["alpha"],
        complete["temperature"],
        c=complete["accuracy"],
        s=14 * complete["epochs"],
        cmap="viridis",
        label="complete; area: epochs",
        zorder=3,
    )
    axes.scatter(
        best["alpha"],
        best["temperature"],
        s=14 * best["epochs"] + 180,
        facecolors="none",
        edgecolors=RED,
        linewidths=2,
        label=f"best: trial {best['trial']}",
        zorder=4,
    )
    figure.colorbar(points, label="accuracy on validation", format=PercentFormatter(1.0, decimals=2))
    axes.set_xlabel("alpha: weight of the labels; the rest is the teacher's")
    axes.set_ylabel("temperature")
    axes.set_title("Where the good ones lie")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    return figure


def page(name: str, seed: int, trials: pd.DataFrame, current: Mapping[str, float], queries: int) -> str:
    """README.md beside the pictures: how large the search was, what it found, how to run it again.

    Args:
        name: of the study.
        trials: as `table` gives them.
        current: the searched parameters as params.yaml has them, in the order in which to show them.
        queries: of the validation split, on which accuracy was taken.
    """
    complete = trials[trials["state"] == COMPLETE].sort_values(["accuracy", "trial"], ascending=[False, True])
    is_current = (complete[list(current)] == list(current.values())).all(axis=1)
    best = complete.iloc[0]
    shown = complete[is_current | (np.arange(len(complete)) < SHOWN)]
    rows = [
        [
            f"{row.trial}{' (params.yaml)' if is_current[row.Index] else ''}",
            percent(row.accuracy),
            *(f"{getattr(row, parameter):g}" for parameter in current),
        ]
        for row in shown.itertuples()
    ]
    accuracy = best["accuracy"]
    return render(
        "search.md.j2",
        TEMPLATES,
        name=name,
        seed=seed,
        trials=len(trials),
        complete=len(complete),
        diverged=(trials["state"] == DIVERGED).sum(),
        epochs=trials[EPOCHS_RUN].sum(),
        table=markdown_table(["trial", "accuracy", *current], rows),
        best=best["trial"],
        values=", ".join(f"{parameter} {best[parameter]:g}" for parameter in current),
        gone=sorted(set(range(trials["trial"].max())) - set(trials["trial"])),
        queries=queries,
        error=np.sqrt(accuracy * (1 - accuracy) / queries),
    )
