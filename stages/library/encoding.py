"""Rows as the Trainer takes them: token ids, labels and, where there is a teacher, its logits."""

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from stages.library.splits import Intents, Row, labels


def encode(
    rows: list[Row],
    tokenizer: PreTrainedTokenizerFast,
    intents: Intents,
    teacher_logits: np.ndarray | None = None,
) -> Dataset:
    """The rows as a data set with columns input_ids, attention_mask, labels and perhaps teacher_logits.

    Args:
        teacher_logits: (rows, intents + 1), row for row.
    """
    tokens = tokenizer([row.text for row in rows], truncation=True, return_token_type_ids=False)
    columns: dict[str, Any] = {**tokens, "labels": labels(rows, intents)}
    if teacher_logits is not None:
        if len(teacher_logits) != len(rows):
            raise ValueError(f"{len(teacher_logits)} rows of teacher logits for {len(rows)} queries")
        columns["teacher_logits"] = list(teacher_logits.astype(np.float32))
    return Dataset.from_dict(columns)
