"""A logistic regression over the features of a query: what two of the peers end with."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from intents.core.errors import PipelineError

FILE = "head.safetensors"
ITERATIONS = 300


def fit(features: Any, labels: np.ndarray, intents: int, inverse_strength: float, seed: int) -> dict[str, np.ndarray]:
    """weight (intents, features) and bias (intents,), float32, by a multinomial logistic regression.

    Args:
        features: (queries, features), dense or sparse.
        labels: (queries,), each of the intents at least once.
        inverse_strength: scikit-learn's C; the larger, the less weights are held small.

    Raises:
        PipelineError: an intent has no training query.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < intents:
        raise PipelineError(f"{intents - len(np.unique(labels))} intents have no training query; a peer needs one each")
    model = LogisticRegression(C=inverse_strength, max_iter=ITERATIONS, random_state=seed).fit(features, labels)
    if intents == 2:  # scikit-learn keeps one row for two classes
        model.coef_, model.intercept_ = (np.concatenate([-x / 2, x / 2]) for x in (model.coef_, model.intercept_))
    return {"weight": model.coef_.astype(np.float32), "bias": model.intercept_.astype(np.float32)}


def save(folder: Path, tensors: dict[str, np.ndarray]) -> int:
    """Write the tensors, and return how many numbers they hold."""
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / FILE)
    return sum(tensor.size for tensor in tensors.values())


def load(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / FILE)
