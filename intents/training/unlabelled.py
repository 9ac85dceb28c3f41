"""Learning from queries that a teacher answered and nobody labelled: the loss, and the rows of a training run."""

from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from intents.training.encoding import with_arrays


class Unlabelled(NamedTuple):
    """Queries without labels, and what the teacher answered."""

    texts: list[str]
    logits: np.ndarray  # (texts, labels)


def squared_error(
    student: torch.Tensor, teacher: torch.Tensor, emphasis: float = 0.0, temperature: float = 1.0
) -> torch.Tensor:
    """The mean squared difference of the logits, and once more with the answers that the teacher finds likely in front.

    (1 / labels) Σ_k (s_k − t_k)² + emphasis · Σ_k softmax(t / T)_k (s_k − t_k)², averaged over the batch.

    The first sum is that of Kim et al., "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
    Distillation" (2021): it matches the logits themselves. The divergence of two softmaxes is blind to a number added
    to all logits of a query, and the score of the out-of-scope rule (intents/serving/rule.py) is exactly their level.
    That score, like the answer itself, depends on the few highest logits, which are a few of 151 in the first sum and
    nearly all of the second.

    Args:
        student, teacher: logits, shape (batch, labels).
        emphasis: weight of the second sum; 0 for the first alone.
        temperature: T, above 0; the higher, the more answers count.
    """
    student, teacher = student.float(), teacher.float()
    error = functional.mse_loss(student, teacher)
    if not emphasis:
        return error
    likely = torch.softmax(teacher / temperature, dim=-1)
    return error + emphasis * (likely * (student - teacher) ** 2).sum(dim=-1).mean()


def with_unlabelled(
    labelled: Dataset, texts: list[str], teacher_logits: np.ndarray, tokenizer: PreTrainedTokenizerFast
) -> Dataset:
    """Training rows (`intents.training.encoding.encode`, with teacher_logits), and after them the unlabelled queries.

    The label of an unlabelled row is the teacher's answer; a loss that reads the teacher's logits alone ignores it.

    Args:
        labelled: with columns input_ids, attention_mask, labels and teacher_logits.
        texts: the unlabelled queries.
        teacher_logits: of them, (texts, labels), row for row.
    """
    if len(teacher_logits) != len(texts):
        raise ValueError(f"{len(teacher_logits)} rows of teacher logits for {len(texts)} unlabelled queries")
    if not texts:
        return labelled
    logits = teacher_logits.astype(np.float32)
    columns = {
        **tokenizer(texts, truncation=True, return_token_type_ids=False),
        "labels": logits.argmax(axis=1),
        "teacher_logits": list(logits),
    }
    return with_arrays(concatenate_datasets([labelled, Dataset.from_dict(columns, features=labelled.features)]))
