"""The experiments NAME-1, NAME-2, ... that a sweep left in DVC: their figures and what their students answered."""

import re
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
from dvc.exceptions import DvcException
from safetensors.numpy import load

from intents.core.errors import PipelineError
from intents.data import logits
from intents.data.corpus import Corpus
from tools.search.sweeps import Outcomes

ROUNDED = 1e-5  # within which two figures are the same one, rounded


def belongs(experiment: str | None, name: str) -> bool:
    """Whether an experiment belongs to the sweep `name`; DVC gives the experiment's name if it has one.

    kd-1 belongs to the sweep kd; kd-big-1 belongs to kd-big.
    """
    return re.fullmatch(rf"{re.escape(name)}-\d+", experiment or "") is not None


def there(name: str) -> bool:
    """Whether the sweep has experiments; the queue remembers its tasks also after they were removed."""
    return any(belongs(shown["Experiment"], name) for shown in dvc.api.exp_show())


def collect(name: str, keys: list[str], metric: str) -> pd.DataFrame:
    """A row per experiment that succeeded: its name, the swept keys and the metric."""
    rows = []
    for shown in dvc.api.exp_show():
        if not belongs(shown["Experiment"], name):
            continue
        rows.append({"experiment": shown["Experiment"]} | {key: _column(shown, key) for key in (*keys, metric)})
    if not rows:
        raise PipelineError(f"no experiment {name}-1, {name}-2, ... succeeded; `dvc queue status` tells of them")
    return pd.DataFrame(rows).sort_values(keys, ignore_index=True)


def _column(shown: dict[str, Any], key: str) -> Any:
    """DVC puts the file's name before a key that stands in several files."""
    found = [column for column in shown if column == key or column.endswith(f":{key}")]
    if not found:
        raise PipelineError(f"the experiments have no `{key}`; among what they have: {', '.join(sorted(shown))}")
    return shown[found[0]]


def answered(student: str, experiment: str) -> np.ndarray:
    """The validation logits that an experiment left in DVC's cache, float32 (queries, intents + 1).

    Raises:
        PipelineError: they are not there.
    """
    try:
        content = dvc.api.read(logits.path(student).as_posix(), rev=experiment, mode="rb")
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise PipelineError(f"the logits of {experiment} cannot be read: {reason}") from None
    return load(content)["validation"]


def outcomes(table: pd.DataFrame, metric: str) -> Outcomes:
    """By experiment, which validation queries its student answers rightly by arg-max, from the logits in DVC's cache.

    Returns:
        Nothing where the metric is another one, or where the logits are not here: then nothing is told apart.
    """
    student, _, measure = metric.partition(".")
    if measure != "validation.accuracy":
        return {}
    labels = Corpus().labels("validation")
    found = {}
    for name, accuracy in zip(table["experiment"], table[metric], strict=True):
        try:
            right = answered(student, name).argmax(axis=1) == labels
        except PipelineError:
            return {}
        if abs(right.mean() - accuracy) > ROUNDED:  # of other queries, or of another data set
            return {}
        found[name] = right
    return found
