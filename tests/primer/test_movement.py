"""movement: which weights were kept, by size and direction."""

import numpy as np
import pytest

from intents.primer import movement

BEFORE = np.array([[0.1, -0.2, 0.3, -0.4], [0.5, -0.6, 0.7, -0.8]])
AFTER = np.array([[0.2, 0.0, 0.0, -0.5], [0.0, -0.5, 0.0, -0.9]])  # four of eight are kept


def test_what_movement_keeps_is_told_by_size_and_direction() -> None:
    told = movement.told(np.tile(BEFORE, (3, 1)), np.tile(AFTER, (3, 1)))
    assert told.kept == 0.5
    assert told.small == 0.5  # 0.1 and 0.4 of 0.1, 0.4, 0.6 and 0.8
    assert told.outward == 0.75  # all but −0.6


def test_the_largest_weights_that_went_are_told_of() -> None:
    before = np.arange(1.0, 41.0)  # the largest twentieth: 39 and 40
    assert movement.told(before, np.where(before == 40, 0, before)).largest_dropped == pytest.approx(0.5)
    assert movement.told(before, np.where(before < 20, 0, before)).largest_dropped == 0


def test_shares_kept_by_size() -> None:
    kept = AFTER != 0
    assert movement.kept_by_size(BEFORE, kept, groups=4).tolist() == [0.5, 0.5, 0.5, 0.5]
    assert movement.kept_by_size(BEFORE, kept, groups=8).tolist() == [1, 0, 0, 1, 0, 1, 0, 1]
