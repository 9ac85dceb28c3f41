"""Queries as the Trainer takes them: token ids, labels and, where there is a teacher, its logits."""

from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from intents.core.errors import PipelineError
from intents.data.corpus import Corpus


def encode(
    data: Corpus, split: str, tokenizer: PreTrainedTokenizerFast, teacher_logits: np.ndarray | None = None
) -> Dataset:
    """A split as a data set with columns input_ids, attention_mask, labels and perhaps teacher_logits.

    Args:
        teacher_logits: (queries, intents + 1), row for row.
    """
    texts = data.texts(split)
    tokens = tokenizer(texts, truncation=True, return_token_type_ids=False)
    columns: dict[str, Any] = {**tokens, "labels": data.labels(split)}
    if teacher_logits is not None:
        if len(teacher_logits) != len(texts):
            raise PipelineError(
                f"the teacher answered {len(teacher_logits)} queries of {split}, and there are {len(texts)}: it was "
                "trained on other data; `dvc repro finetune-teacher` answers those of today"
            )
        columns["teacher_logits"] = list(teacher_logits.astype(np.float32))
        return with_arrays(Dataset.from_dict(columns))
    return Dataset.from_dict(columns)


def with_arrays(rows: Dataset) -> Dataset:
    """The same rows, whose teacher_logits are read as arrays and not as lists: a batch then takes half of the time."""
    return rows.with_format("numpy", columns=["teacher_logits"], output_all_columns=True)
