"""The rules that choose the best variant and the Pareto front, on tables made by hand."""

from typing import Any

import pytest

from intents.evaluation import selection

Rows = dict[str, dict[str, Any]]


def row(accuracy: float, p50: float, deployable: bool = True, size: float = 1.0) -> dict[str, Any]:
    validation = {"expected_accuracy_with_rule": accuracy}
    return {"validation": validation, "p50_ms": p50, "deployable": deployable, "size_mb": size}


TEACHER = row(0.90, 9.0, deployable=False)


@pytest.mark.parametrize(
    ("rows", "front"),
    [
        ({"a": row(0.9, 2.0), "b": row(0.8, 1.0)}, {"a", "b"}),
        ({"a": row(0.9, 1.0), "b": row(0.8, 2.0)}, {"a"}),
        ({"a": row(0.9, 1.0), "b": row(0.9, 1.0, size=2.0)}, {"a"}),
        ({"a": row(0.9, 1.0), "b": row(0.8, 2.0, size=0.5)}, {"a", "b"}),
        ({"a": row(0.9, 1.0), "b": row(0.9, 1.0)}, {"a", "b"}),  # neither is better in anything
        ({"a": row(0.9, 3.0), "b": row(0.8, 2.0), "c": row(0.85, 1.9), "d": row(0.7, 1.0)}, {"a", "c", "d"}),
    ],
)
def test_the_pareto_front_is_what_no_other_beats(rows: Rows, front: set[str]) -> None:
    assert selection.pareto_front(rows) == front


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ({"a": row(0.90, 2.0), "b": row(0.90, 1.0)}, "b"),  # the fastest
        ({"a": row(0.89, 2.0), "b": row(0.88, 1.0)}, "a"),  # the fastest within the budget; its bound is within
        ({"a": row(0.89, 1.09), "b": row(0.895, 1.10), "c": row(0.90, 1.11), "d": row(0.89, 1.0)}, "b"),  # a tie
        ({"a": row(0.88, 1.0), "b": row(0.89, 1.2), "c": row(0.90, 1.33)}, "b"),  # a tie is with the fastest within
        ({"a": row(0.95, 3.0), "b": row(0.89, 1.0)}, "b"),  # more accurate than need be is no merit beyond a tie
        ({"a": row(0.90, 1.0, size=2.0), "b": row(0.90, 1.05, size=1.9)}, "b"),  # of equals in a tie, the smallest
        ({"a": row(0.90, 0.5, deployable=False), "b": row(0.90, 1.0)}, "b"),  # needs torch
        ({"a": row(0.80, 1.0)}, None),
        ({"a": row(0.95, 1.0, deployable=False)}, None),
        ({}, None),
    ],
)
def test_best_is_the_fastest_within_the_budget_and_the_most_accurate_of_a_tie(rows: Rows, best: str | None) -> None:
    # A hair more than 0.01 and 0.1: sums of decimals are inexact, and values at the bound count as within.
    assert selection.best_deployable({"teacher": TEACHER} | rows, 0.01 + 1e-9, 0.1 + 1e-9) == best


def test_no_budget_and_no_tie_leave_the_fastest_of_those_as_good_as_the_teacher() -> None:
    rows = {"teacher": TEACHER, "a": row(0.90, 2.0), "b": row(0.8999, 1.0), "c": row(0.99, 2.001)}
    assert selection.best_deployable(rows, 0.0, 0.0) == "a"


def test_test_figures_have_no_say_in_the_choice() -> None:
    rows = {"teacher": TEACHER, "a": row(0.90, 2.0) | {"accuracy_with_rule": 0.1}, "b": row(0.88, 1.0)}
    rows["b"]["accuracy_with_rule"] = 1.0
    assert selection.best_deployable(rows, 0.01, 0.1) == "a"
    assert selection.most_accurate_deployable(rows) == "a"
    assert selection.pareto_front({"a": rows["a"], "b": row(0.88, 3.0) | {"accuracy_with_rule": 1.0}}) == {"a"}


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.01, 0.0), "excluded"),
        ((-0.0100001, 0.0), "open"),
        ((-0.02, -0.01), "open"),
        ((-0.02, -0.0100001), "certain"),
        ((0.0, 0.01), "excluded"),
    ],
)
def test_a_loss_beyond_the_budget_is_excluded_open_or_certain(interval: tuple[float, float], verdict: str) -> None:
    assert selection.on_budget(interval, 0.01).value == verdict


def test_one_query_on_the_verge_of_the_budget_decides_no_verdict() -> None:
    """Of 3,100 queries it is 0.03 points, and an interval is a point wide: on either side the question is open."""
    verdicts = {selection.on_budget((drop - 0.005, drop + 0.005), 0.01) for drop in (-0.00994, -0.01027)}
    assert verdicts == {selection.Verdict.OPEN}


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ({"a": row(0.80, 1.0), "b": row(0.81, 9.0)}, "b"),
        ({"a": row(0.80, 1.1), "b": row(0.80, 1.0)}, "b"),  # of equals the fastest
        ({"a": row(0.99, 1.0, deployable=False), "b": row(0.5, 1.0)}, "b"),
    ],
)
def test_without_a_best_one_the_most_accurate_is_left(rows: Rows, name: str) -> None:
    assert selection.most_accurate_deployable({"teacher": TEACHER} | rows) == name
