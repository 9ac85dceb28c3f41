"""The logits that a variant gave, as files.

A file (data/logits/VARIANT.safetensors) holds one float32 array (queries, intents + 1) per split, rows in the
order of data/clinc. Everything said of a variant's accuracy is computed from its file.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm

from intents.core import files, paths, variants
from intents.core.errors import PipelineError


def path(variant: str) -> Path:
    return paths.LOGITS / f"{variant}.safetensors"


def lesson(file: str, key: str) -> np.ndarray:
    """A teacher's answers to the training queries, (queries, intents + 1), from the file that a setting names.

    Args:
        key: of the setting, for errors to name.

    Raises:
        PipelineError: it is no file of logits, or not there, or the teacher was not asked the training queries.
    """
    teacher = Path(file).stem
    if Path(file) != path(teacher):
        raise PipelineError(f"`{key}` is {file!r}; allowed: {path('TEACHER')}, with TEACHER the name of a variant")
    found = load(teacher)
    if "train" not in found:
        raise PipelineError(
            f"`{key}` is {file!r}, which has no answers to the training queries; allowed: that of a teacher with "
            "`teaches: true` in its section"
        )
    return found["train"]


def check(variant: str, logits: Mapping[str, np.ndarray]) -> None:
    """Raise a PipelineError if a logit is not finite: no later stage would name the model that made it."""
    for split, array in logits.items():
        if broken := int((~np.isfinite(array)).any(axis=-1).sum()):
            raise PipelineError(
                f"the logits of {variant} are not finite for {broken} of {len(array)} queries of {split}, so it was "
                "not written; what to try is a lower `learning_rate` or `temperature` where the model was trained"
            )


def save(variant: str, logits: Mapping[str, np.ndarray]) -> None:
    """Write the logits of a variant by split, each (queries, intents + 1).

    Raises:
        PipelineError: some are not finite.
    """
    arrays = {split: np.ascontiguousarray(array, np.float32) for split, array in logits.items()}
    check(variant, arrays)
    with files.new_file(path(variant)) as scratch:
        save_file(arrays, scratch)


def load(variant: str) -> dict[str, np.ndarray]:
    """The logits of a variant by split, each (queries, intents + 1).

    Raises:
        PipelineError: they are not there, or the file is damaged; the message names the command that makes them.
    """
    made_by = variants.parse(variant).made_by
    file = files.require(path(variant), made_by)
    try:
        found: dict[str, np.ndarray] = load_file(file)
    except SafetensorError as error:
        raise PipelineError(f"{file} is damaged: {' '.join(str(error).split())[:120]}; `{made_by}` makes it") from None
    if broken := [split for split, array in found.items() if not np.isfinite(array).all()]:
        raise PipelineError(f"{file} has logits of {broken[0]} that are not finite; `{made_by}` makes it again")
    return found


def one_by_one(answer: Callable[[str], np.ndarray], texts: Iterable[str]) -> np.ndarray:
    """Logits as a served model gives them: `answer(text)`, shape (labels,), for one query at a time."""
    texts = list(texts)
    return np.stack([answer(text) for text in tqdm(texts, desc="logits", unit="query", leave=False)])
