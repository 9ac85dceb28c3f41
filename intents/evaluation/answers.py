"""The answers of one variant to the queries of validation and test, and what can be said of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from intents.evaluation import calibration, confusion, selective
from intents.serving.rule import decide, scores


@dataclass(frozen=True)
class Answers:
    """The logits of a variant, the right answers, and what turns the one into the other."""

    variant: str
    logits: Mapping[str, np.ndarray]  # per split (queries, intents + 1), out-of-scope last
    labels: Mapping[str, np.ndarray]  # per split (queries,)
    names: Sequence[str]  # of the intents, in label order
    threshold: float  # of the out-of-scope rule
    temperature: float

    def given(self, split: str) -> np.ndarray:
        """The labels that the rule gives, (queries,)."""
        return decide(self.logits[split], self.threshold)

    def probabilities(self, split: str, temperature: float | None = None) -> np.ndarray:
        """(queries, intents + 1); calibrated, unless another temperature is given."""
        return calibration.probabilities(self.logits[split], temperature or self.temperature)

    def per_intent(self, split: str) -> pd.DataFrame:
        """As intents.evaluation.confusion.per_intent has it, with the rule."""
        return confusion.per_intent(self.given(split), self.labels[split], self.names)

    def confused_pairs(self, split: str) -> pd.DataFrame:
        """As intents.evaluation.confusion.confused_pairs has it, with the rule."""
        return confusion.confused_pairs(self.given(split), self.labels[split], self.names)

    def wrong(self, split: str, texts: Sequence[str]) -> pd.DataFrame:
        """As intents.evaluation.confusion.wrong_answers has it, with the rule."""
        return confusion.wrong_answers(
            *(self.given(split), self.labels[split], self.probabilities(split), scores(self.logits[split])),
            *(texts, self.names),
        )

    def surest(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """As intents.evaluation.selective.surest has it."""
        return selective.surest(self.logits[split], self.labels[split], self.temperature)

    def in_scope(self, split: str) -> np.ndarray:
        """Which queries the rule answers with an intent, bool, (queries,)."""
        return self.given(split) != len(self.names) - 1

    def answered(self, split: str, chosen: np.ndarray, rate: float | None = None) -> tuple[float, float]:
        """Coverage and risk, each 0 to 1, where the `chosen` queries are answered with their likeliest intent.

        Args:
            rate: the share of queries that is out of scope; None for that of the split.
        """
        labels = self.labels[split]
        weight = np.full(len(labels), 1 / len(labels))
        if rate is not None:
            weight = selective.weights(labels, len(self.names) - 1, rate)
        return selective.answered(chosen, self.surest(split)[1], weight)
