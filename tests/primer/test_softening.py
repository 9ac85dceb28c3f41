"""softening: which queries are shown, and what teacher and student say of them."""

import numpy as np
import pytest

from intents.primer import softening


def test_the_telling_queries() -> None:
    probabilities = np.array([[0.9, 0.06, 0.04], [0.5, 0.45, 0.05], [0.8, 0.1, 0.1], [0.99, 0.01, 0], [0.6, 0.3, 0.1]])
    assert softening.telling(probabilities) == (2, 1)


def test_a_query_is_told_of_by_the_intents_that_the_teacher_finds_likeliest() -> None:
    teacher, student = np.log([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]]), np.log([[0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    names, intents = ["a", "b", "c"], ["right", "also right"]
    second, first = softening.queries((1, 0), intents, names, teacher, student, [1.0, 2.0], likeliest=2)
    assert (first.intent, first.names) == ("right", ["b", "c"])
    assert (second.intent, second.names) == ("also right", ["a", "c"])
    assert first.teacher[0] == pytest.approx([0.6, 0.3])
    assert first.student[0] == pytest.approx([0.2, 0.6])
    roots = np.sqrt([0.1, 0.6, 0.3])
    assert first.teacher[1] == pytest.approx(roots[1:] / roots.sum())
