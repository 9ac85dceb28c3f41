"""The folder data/augmented: unlabelled queries, and the teacher's answers to them and to the training queries.

queries.jsonl has one {"text"} a line; answers.safetensors has `train` and `unlabelled`, each (queries, intents + 1).
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from intents.core import files, paths

QUERIES, ANSWERS = "queries.jsonl", "answers.safetensors"
MADE_BY = "dvc repro augment"


def save(texts: list[str], train: np.ndarray, unlabelled: np.ndarray) -> None:
    """Write the folder.

    Args:
        texts: the unlabelled queries.
        train, unlabelled: the teacher's logits, (queries, intents + 1).
    """
    with files.new_folder(paths.AUGMENTED) as folder:
        lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        files.write_text(folder / QUERIES, lines)
        save_file({"train": train, "unlabelled": unlabelled}, folder / ANSWERS)


def load(folder: Path = paths.AUGMENTED) -> tuple[list[str], dict[str, np.ndarray]]:
    """The unlabelled queries, and the logits by name.

    Raises:
        PipelineError: they are not there.
    """
    lines = files.require(folder / QUERIES, MADE_BY).read_text(encoding="utf-8").split("\n")
    return [json.loads(line)["text"] for line in lines if line], load_file(files.require(folder / ANSWERS, MADE_BY))
