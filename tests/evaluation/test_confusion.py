"""Which intents are wrong, against counts made by hand."""

import numpy as np
import pandas as pd
import pytest

from intents.evaluation import confusion

NAMES = ["alarm", "music", "weather", "oos"]
#          alarm x4        music x3      weather x1  oos x2
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 3, 3])
GIVEN = np.array([0, 1, 1, 3, 1, 1, 0, 2, 3, 1])


def test_counts_have_a_row_per_right_answer_and_a_column_per_given_one() -> None:
    found = confusion.counts(GIVEN, LABELS, NAMES)
    assert found.to_numpy().tolist() == [[1, 2, 0, 1], [1, 2, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
    assert (list(found.index), list(found.columns)) == (NAMES, NAMES)


def test_each_intent_has_precision_recall_and_what_it_is_taken_for() -> None:
    found = confusion.per_intent(GIVEN, LABELS, NAMES)
    assert found["precision"].tolist() == [1 / 2, 2 / 5, 1, 1 / 2]
    assert found["recall"].tolist() == [1 / 4, 2 / 3, 1, 1 / 2]
    assert found["f1"].tolist() == pytest.approx([1 / 3, 1 / 2, 1, 1 / 2])
    assert found["support"].tolist() == [4, 3, 1, 2]
    assert found["given"].tolist() == [2, 5, 1, 2]
    assert found["confused_with"].fillna("-").tolist() == ["music", "alarm", "-", "music"]
    assert found["confused"].tolist() == [2, 1, 0, 1]


def test_of_an_intent_that_a_split_lacks_nothing_is_claimed() -> None:
    """No out-of-scope query, and none that is called one; weather is missing, but given once."""
    labels, given = np.array([0, 0, 1]), np.array([0, 2, 1])
    found = confusion.per_intent(given, labels, NAMES)
    assert found["support"].tolist() == [2, 1, 0, 0]
    assert found.loc["weather", ["precision", "f1"]].tolist() == [0, 0]
    assert np.isnan(found.loc["weather", "recall"])
    assert found.loc["oos", ["precision", "recall", "f1", "confused_with"]].isna().all()


def test_pairs_count_both_ways_and_name_the_more_mistaken_one_first() -> None:
    found = confusion.confused_pairs(GIVEN, LABELS, NAMES)
    assert list(found.itertuples(index=False, name=None)) == [
        ("alarm", "music", 2, 1, 3),
        ("alarm", "oos", 1, 0, 1),
        ("oos", "music", 1, 0, 1),
    ]


def test_where_all_is_right_there_is_no_pair_and_no_wrong_answer() -> None:
    assert confusion.confused_pairs(LABELS, LABELS, NAMES).empty
    ten = np.full((10, 4), 0.25)
    found = confusion.wrong_answers(LABELS, LABELS, ten, ten[:, 0], ["a"] * 10, NAMES)
    assert found.empty
    # Beside others' in one file, whole numbers stay whole.
    assert pd.api.types.is_integer_dtype(found["row"])


def test_two_intents_are_enough() -> None:
    found = confusion.per_intent(np.array([0, 1, 1]), np.array([0, 0, 1]), ["no", "yes", "oos"])
    assert found["confused_with"].fillna("-").tolist() == ["yes", "-", "-"]


def test_wrong_answers_come_the_surest_first_with_both_probabilities() -> None:
    probabilities = np.full((10, 4), 0.1)
    probabilities[2, 1], probabilities[9, 1], probabilities[9, 3] = 0.6, 0.7, 0.2
    texts = [f"query {row}" for row in range(10)]
    found = confusion.wrong_answers(GIVEN, LABELS, probabilities, np.arange(10.0), texts, NAMES)
    assert found["row"].tolist() == [9, 2, 1, 3, 6]
    first = found.iloc[0]
    assert first.to_dict() == {
        "row": 9,
        "expected": "oos",
        "given": "music",
        "probability": 0.7,
        "probability_of_expected": 0.2,
        "score": 9.0,
        "text": "query 9",
    }
