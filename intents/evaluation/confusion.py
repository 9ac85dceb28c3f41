"""Which intents a variant gets wrong, and what it takes them for."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

FIGURES = ("precision", "recall", "f1")


def counts(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """How often each intent is answered with each: (intents, intents), a row per right answer, a column per given one.

    Args:
        predicted: the labels that a variant gave, (queries,).
        labels: the right ones, (queries,).
        names: of the intents, in label order.
    """
    found = confusion_matrix(labels, predicted, labels=range(len(names)))
    return pd.DataFrame(found, index=pd.Index(names, name="intent"), columns=list(names))


def per_intent(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Precision, recall and F1 of each intent, and what it is most often taken for.

    A figure that nothing can be said of is NaN: the recall of an intent without queries, the precision of one that is
    never given, F1 where there is neither.

    Args:
        predicted, labels, names: as of `counts`.

    Returns:
        A row per intent, in label order: precision, recall, f1 (0 to 1), support (queries of the intent), given
        (answers with it), confused_with (what its queries are most often answered with by mistake, of equals the first
        in label order; NaN where all are right), confused (how many of them).
    """
    matrix = counts(predicted, labels, names)
    *figures, support = precision_recall_fscore_support(
        labels, predicted, labels=range(len(names)), zero_division=np.nan
    )
    wrong = matrix.to_numpy(copy=True)
    np.fill_diagonal(wrong, 0)
    most = wrong.max(axis=1)
    return pd.DataFrame(
        {
            **dict(zip(FIGURES, figures, strict=True)),
            "support": support,
            "given": matrix.sum(axis=0).to_numpy(),
            "confused_with": [names[place] if most[row] else None for row, place in enumerate(wrong.argmax(axis=1))],
            "confused": most,
        },
        index=matrix.index,
    )


def confused_pairs(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """The pairs of intents that are taken for each other, most often first, of equals in label order.

    Args:
        predicted, labels, names: as of `counts`.

    Returns:
        A row per pair: intent, other, as_other (queries of the intent that are answered with the other), as_intent (the
        other way round), both. Of the two, `intent` is the one that is more often mistaken.
    """
    matrix = counts(predicted, labels, names).to_numpy()
    rows = []
    for first, second in zip(*np.nonzero(np.triu(matrix + matrix.T, k=1)), strict=True):
        one, other = (first, second) if matrix[first, second] >= matrix[second, first] else (second, first)
        there, back = int(matrix[one, other]), int(matrix[other, one])
        rows.append((names[one], names[other], there, back, there + back))
    found = pd.DataFrame(rows, columns=["intent", "other", "as_other", "as_intent", "both"])
    return found.sort_values(["both", "as_other"], ascending=False, kind="stable", ignore_index=True)


def wrong_answers(
    predicted: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    scores: np.ndarray,
    texts: Sequence[str],
    names: Sequence[str],
) -> pd.DataFrame:
    """Every query that is answered wrongly, the surest first: among those are the data set's own mistakes.

    Args:
        predicted, labels, names: as of `counts`.
        probabilities: calibrated, (queries, intents).
        scores: of the out-of-scope rule, (queries,).
        texts: the queries.

    Returns:
        A row per wrong answer: row (its place in the split), expected, given, probability (of what is given),
        probability_of_expected, score, text.
    """
    rows = np.flatnonzero(predicted != labels)
    found = pd.DataFrame(
        {
            "row": rows,
            "expected": [names[label] for label in labels[rows]],
            "given": [names[label] for label in predicted[rows]],
            "probability": probabilities[rows, predicted[rows]],
            "probability_of_expected": probabilities[rows, labels[rows]],
            "score": scores[rows],
            "text": [texts[row] for row in rows.tolist()],
        }
    )
    return found.sort_values("probability", ascending=False, kind="stable", ignore_index=True)
