"""model2vec: a vector for each word piece, distilled from a sentence encoder, their mean, and a logistic regression."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intents.core.settings import above, at_least, seed_number
from intents.data.corpus import Corpus
from intents.models import checkpoints
from intents.peers import common, linear


@dataclass(frozen=True, kw_only=True)
class Settings(common.Settings):
    checkpoint: str  # as in `teacher`
    package: str | None
    revision: str | None
    sha256: str | None
    dimension: int = at_least(1)  # of a vector, by PCA
    inverse_strength: float = above(0)  # scikit-learn's C
    seed: int = seed_number()

    def train(self, data: Corpus, folder: Path) -> int:
        from transformers import AutoModel

        with common.packages("model2vec"):
            from model2vec.distill import distill_from_model

            source = checkpoints.locate(self.checkpoint, self.package, self.revision, self.sha256)
            encoder = AutoModel.from_pretrained(source, use_safetensors=True, dtype="float32").eval()
            tokenizer = checkpoints.load_tokenizer(source)
            static = distill_from_model(encoder, tokenizer, device="cpu", pca_dims=self.dimension)
            static.save_pretrained(folder)
            vectors = static.encode(data.texts("train"), use_multiprocessing=False)
            intents = len(data.intents.names)
            head = linear.fit(vectors, data.labels("train"), intents, self.inverse_strength, self.seed)
        return linear.save(folder, head) + int(static.embedding.size)


def load(folder: Path, threads: int) -> common.Scores:  # noqa: ARG001 (its own code takes one core)
    with common.packages("model2vec"):
        from model2vec import StaticModel

        static = StaticModel.from_pretrained(folder)
    head = linear.load(folder)
    weight = np.ascontiguousarray(head["weight"].T)
    return lambda texts: np.asarray(static.encode(texts, use_multiprocessing=False)) @ weight + head["bias"]
