"""Intervals, against a bootstrap that draws the queries one by one, and against the formula for large samples."""

import numpy as np
import pytest
from scipy.stats import binomtest

from intents.evaluation import statistics


def outcomes(queries: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Two models that mostly get the same queries right."""
    draw = np.random.default_rng(0)
    theirs = draw.random(queries) < 0.9
    return np.where(draw.random(queries) < 0.05, draw.random(queries) < 0.5, theirs), theirs


def test_the_interval_is_that_of_resampled_queries() -> None:
    ours, theirs = outcomes()
    change, (low, high) = statistics.paired_difference(ours, theirs, samples=20000, seed=0)
    assert change == pytest.approx(ours.mean() - theirs.mean())

    draw = np.random.default_rng(1)
    rows = [draw.integers(len(ours), size=len(ours)) for _ in range(4000)]
    resampled = [ours[drawn].mean() - theirs[drawn].mean() for drawn in rows]
    difference = ours.astype(float) - theirs.astype(float)
    error = difference.std() / np.sqrt(len(ours))
    assert [low, high] == pytest.approx(list(np.percentile(resampled, [2.5, 97.5])), abs=0.2 * error)
    assert [low, high] == pytest.approx([change - 1.96 * error, change + 1.96 * error], abs=0.2 * error)


def test_what_both_get_right_or_wrong_together_cancels() -> None:
    ours, theirs = outcomes()
    _, (low, high) = statistics.paired_difference(ours, theirs, samples=20000, seed=0)
    unpaired = 2 * 1.96 * np.sqrt((ours.var() + theirs.var()) / len(ours))
    assert high - low < unpaired / 2
    assert statistics.paired_difference(theirs, theirs, samples=100, seed=0) == (0.0, (0.0, 0.0))


def test_each_half_of_the_traffic_is_resampled_by_itself_and_weighted() -> None:
    draw = np.random.default_rng(0)
    outside = np.arange(400) < 40
    theirs = draw.random(400) < 0.8
    ours = np.where(draw.random(400) < 0.15, ~theirs, theirs)
    change, (low, high) = statistics.weighted_difference(ours, theirs, outside, 0.2, samples=20000, seed=0)
    differences = ours.astype(int) - theirs
    assert change == pytest.approx(0.8 * differences[~outside].mean() + 0.2 * differences[outside].mean())
    samples = [
        0.8 * draw.choice(differences[~outside], 360).mean() + 0.2 * draw.choice(differences[outside], 40).mean()
        for _ in range(4000)
    ]
    assert (low, high) == pytest.approx(tuple(np.percentile(samples, [2.5, 97.5])), abs=0.005)


def test_without_queries_out_of_scope_the_difference_is_that_in_scope() -> None:
    ours, theirs = np.arange(100) < 80, np.arange(100) < 70
    inside = np.zeros(100, bool)
    assert statistics.weighted_difference(ours, theirs, inside, 0.2, 1000, 0) == statistics.paired_difference(
        ours, theirs, 1000, 0
    )


def test_a_ratio_of_medians_is_resampled_query_by_query() -> None:
    draw = np.random.default_rng(2)
    length = draw.uniform(1, 3, size=51)
    slow, fast = 4 * length * draw.uniform(0.9, 1.1, 51), length * draw.uniform(0.9, 1.1, 51)
    ratio, (low, high) = statistics.ratio_of_medians(slow, fast, samples=500, seed=3)
    assert ratio == pytest.approx(sorted(slow)[25] / sorted(fast)[25])

    rows = np.random.default_rng(3).integers(51, size=(500, 51))
    each = sorted(sorted(slow[drawn])[25] / sorted(fast[drawn])[25] for drawn in rows)
    assert each[11] <= low <= each[13]
    assert each[486] <= high <= each[488]
    assert low < ratio < high


def test_the_samples_of_a_ratio_are_those_of_its_interval() -> None:
    draw = np.random.default_rng(4)
    slow, fast = draw.uniform(2, 4, 21), draw.uniform(1, 2, 21)
    samples = statistics.ratio_of_medians_samples(slow, fast, samples=400, seed=5)
    assert samples.shape == (400,)
    _, interval = statistics.ratio_of_medians(slow, fast, samples=400, seed=5)
    assert list(interval) == pytest.approx(list(np.percentile(samples, [2.5, 97.5])))
    assert (samples == statistics.ratio_of_medians_samples(slow, fast, samples=400, seed=5)).all()
    assert (samples != statistics.ratio_of_medians_samples(slow, fast, samples=400, seed=6)).any()


def test_a_change_in_a_group_is_judged_by_the_queries_that_one_of_two_models_gets_right() -> None:
    draw = np.random.default_rng(3)
    groups = draw.choice(["a", "b", "c"], size=200, p=[0.6, 0.3, 0.1]).tolist()
    theirs = draw.random(200) < 0.8
    ours = np.where(draw.random(200) < 0.3, draw.random(200) < 0.4, theirs)
    found = statistics.changes_by_group(ours, theirs, [*groups])
    assert list(found.index) == ["a", "b", "c"]
    for name, row in found.iterrows():
        rows = [place for place, group in enumerate(groups) if group == name]
        won = sum(ours[place] and not theirs[place] for place in rows)
        lost = sum(theirs[place] and not ours[place] for place in rows)
        assert row[["queries", "won", "lost"]].tolist() == [len(rows), won, lost]
        assert row[["before", "after"]].tolist() == [theirs[rows].sum(), ours[rows].sum()]
        assert row["p"] == pytest.approx(binomtest(won, won + lost).pvalue)


def test_where_nothing_changed_there_is_no_evidence() -> None:
    same = np.array([True, False, True])
    assert statistics.changes_by_group(same, same, ["a", "a", "b"])["p"].tolist() == [1, 1]


def test_of_many_groups_in_which_nothing_moved_the_correction_names_none() -> None:
    """150 groups, each changed by chance alone: some p lie under 0.05 as they are, and none as they are corrected."""
    draw = np.random.default_rng(4)
    groups = np.repeat([f"intent {number:03}" for number in range(150)], 30).tolist()
    ours, theirs = (draw.random(len(groups)) < 0.6 for _ in range(2))
    p = statistics.changes_by_group(ours, theirs, groups)["p"].to_numpy()
    assert (p < 0.05).sum() >= 2
    assert (statistics.corrected(p) < 0.05).sum() == 0


def test_the_correction_is_that_of_benjamini_and_hochberg() -> None:
    p = np.array([0.04, 0.001, 0.9, 0.03])
    assert statistics.corrected(p).tolist() == pytest.approx([0.04 * 4 / 3, 0.001 * 4, 0.9, 0.04 * 4 / 3])
    assert statistics.corrected(np.array([])).tolist() == []
