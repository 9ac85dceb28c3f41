"""The rule that says "I do not know": out of scope by arg-max, or by a score under a threshold.

The score of a query is the log-sum-exp of its in-scope logits, their negative free energy: it keeps the confidence that
a softmax divides away, and so separates known from unknown better than the largest probability (Liu et al.,
"Energy-based Out-of-distribution Detection", 2020, section 3).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from intents.core import files
from intents.core.errors import PipelineError

FILE = "classifier.json"


class Rule(NamedTuple):
    """What turns logits into an answer: the names of the intents, and the threshold of the score."""

    intents: list[str]  # in label order, out-of-scope last
    threshold: float
    rate: float  # the share of out-of-scope queries that the threshold was calibrated for

    def save(self, folder: Path) -> None:
        """Write classifier.json."""
        files.write_json(folder / FILE, self._asdict())

    @classmethod
    def load(cls, folder: Path, made_by: str) -> "Rule":
        """Read classifier.json.

        Raises:
            PipelineError: it is not there, or not what `save` writes.
        """
        content = files.read_json(folder / FILE, made_by)
        try:
            return cls(**{name: content[name] for name in cls._fields})
        except (KeyError, TypeError):
            raise PipelineError(
                f"{folder / FILE} is no rule; it needs the keys {', '.join(cls._fields)}; `{made_by}` makes it anew"
            ) from None


def scores(logits: np.ndarray) -> np.ndarray:
    """log Σ exp over the in-scope logits of each row; logits (queries, intents + 1) with out-of-scope last."""
    return np.logaddexp.reduce(logits[:, :-1], axis=1, dtype=np.float64)


def decide(logits: np.ndarray, threshold: float) -> np.ndarray:
    """The label of each row by the rule, shape (queries,): arg-max, or out-of-scope under the threshold."""
    out_of_scope = logits.shape[1] - 1
    return np.where(scores(logits) < threshold, out_of_scope, logits.argmax(axis=1))
