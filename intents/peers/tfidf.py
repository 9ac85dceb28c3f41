"""TF-IDF of words and pairs of words, and a logistic regression over them, in scikit-learn."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intents.core.settings import above, at_least, seed_number
from intents.data.corpus import Corpus
from intents.peers import common, linear

VOCABULARY = "vocabulary.json"


def vectorizer(most: int, vocabulary: list[str] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, most), sublinear_tf=True, token_pattern=r"\S+", vocabulary=vocabulary, dtype=np.float32
    )


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    words: int = at_least(1)  # the longest sequence of words that is a feature
    inverse_strength: float = above(0)  # scikit-learn's C
    seed: int = seed_number()

    def train(self, data: Corpus, folder: Path) -> int:
        with common.packages("tfidf"):
            counted = vectorizer(self.words)
            features = counted.fit_transform(data.texts("train"))
            intents = len(data.intents.names)
            head = linear.fit(features, data.labels("train"), intents, self.inverse_strength, self.seed)
        terms = [str(term) for term in counted.get_feature_names_out()]
        (folder / VOCABULARY).write_text(json.dumps({"words": self.words, "terms": terms}), encoding="utf-8")
        return linear.save(folder, head | {"idf": counted.idf_.astype(np.float32)})


def load(folder: Path, threads: int) -> common.Scores:  # noqa: ARG001 (a sparse product takes one core)
    known = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
    head = linear.load(folder)
    with common.packages("tfidf"):
        counted = vectorizer(known["words"], known["terms"])
    counted.idf_ = head["idf"]
    weight = np.ascontiguousarray(head["weight"].T)
    return lambda texts: np.asarray(counted.transform(texts) @ weight + head["bias"])
