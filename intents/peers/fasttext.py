"""fastText: the mean of word vectors, and a line (Joulin et al., "Bag of Tricks for Efficient Text Classification")."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intents.core.errors import PipelineError
from intents.core.settings import above, at_least, between
from intents.data.corpus import Corpus
from intents.peers import common

FILE = "model.bin"
LABEL = "__label__"


def library() -> Any:
    with common.packages("fasttext"):
        import fasttext
    fasttext.FastText.eprint = lambda *_: None  # it prints a warning at each load
    return fasttext


def line(text: str) -> str:
    """A query as fastText reads it: words between single spaces, none of them a label."""
    return " ".join(text.replace(LABEL, " ").split())


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    epochs: int = at_least(1)
    learning_rate: float = above(0)
    dimension: int = at_least(1)  # of a vector
    words: int = at_least(1)  # the longest sequence of words that has a vector
    buckets: int = at_least(1)  # vectors that sequences share, by their hash
    seed: int = between(0, 2**31 - 1)  # an int of C++

    def train(self, data: Corpus, folder: Path) -> int:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "train.txt"
            pairs = zip(data.labels("train"), data.texts("train"), strict=True)
            path.write_text("".join(f"{LABEL}{label} {line(text)}\n" for label, text in pairs), encoding="utf-8")
            options = {"epoch": self.epochs, "lr": self.learning_rate, "dim": self.dimension, "seed": self.seed}
            options |= {"wordNgrams": self.words, "bucket": self.buckets, "verbose": 0}
            options["thread"] = 1  # with more, no two runs give the same model
            try:
                model = library().train_supervised(str(path), **options)
            except RuntimeError as error:  # weights beyond all bounds
                raise PipelineError(
                    f"`peers.fasttext.learning_rate` is {self.learning_rate:g}, and fastText says: {error}; "
                    "allowed: one with which it learns, so a smaller one"
                ) from None
        model.save_model(str(folder / FILE))
        return int(model.get_input_matrix().size + model.get_output_matrix().size)


def load(folder: Path, threads: int) -> common.Scores:  # noqa: ARG001 (it takes one core)
    """Scores before the softmax: the rule reads their level, which probabilities have lost."""
    model = library().load_model(str(folder / FILE))
    order = np.argsort([int(label.removeprefix(LABEL)) for label in model.get_labels()])
    output = model.get_output_matrix()[order].T
    return lambda texts: np.stack([model.get_sentence_vector(line(text)) for text in texts]) @ output
