"""Learning from unlabelled queries: the loss by hand, and the rows that are added."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.special import softmax
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from intents.training.unlabelled import squared_error, with_unlabelled


def test_the_loss_is_the_mean_over_batch_and_labels_and_sees_the_level() -> None:
    teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    student = torch.tensor([[1.0, 4.0], [2.0, 1.0]])
    assert squared_error(student, teacher).item() == pytest.approx((0 + 4 + 1 + 9) / 4)
    assert squared_error(teacher + 2, teacher).item() == pytest.approx(4)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_likely_answers_count_more_by_the_teachers_softmax(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 7, generator=generator), 4 * torch.randn(5, 7, generator=generator)
    s, t = student.double().numpy(), teacher.double().numpy()
    weights = softmax(t / temperature, axis=1)
    expected = ((s - t) ** 2).mean() + 0.3 * (weights * (s - t) ** 2).sum(axis=1).mean()
    assert squared_error(student, teacher, 0.3, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert squared_error(student, teacher, 0.0, temperature).item() == pytest.approx(((s - t) ** 2).mean(), rel=1e-5)


def rows() -> tuple[Dataset, PreTrainedTokenizerFast]:
    backend = Tokenizer(WordLevel({"[UNK]": 0, "book": 1, "a": 2, "flight": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    columns = {**tokenizer(["book a flight"], return_token_type_ids=False), "labels": np.array([1])}
    columns["teacher_logits"] = list(np.array([[0.0, 1.0]], np.float32))
    return Dataset.from_dict(columns), tokenizer


def test_unlabelled_rows_come_last_with_the_teachers_answers() -> None:
    labelled, tokenizer = rows()
    logits = np.array([[5.0, 1.0], [0.0, 2.0]])
    both = with_unlabelled(labelled, ["flight", "book book"], logits, tokenizer)
    assert both["input_ids"][:] == [[1, 2, 3], [3], [1, 1]]
    assert both["labels"][:] == [1, 0, 1]
    assert both["teacher_logits"][1:].tolist() == logits.tolist()
    assert both.column_names == labelled.column_names
    assert with_unlabelled(labelled, [], logits[:0], tokenizer) is labelled


def test_each_query_needs_its_answer() -> None:
    labelled, tokenizer = rows()
    with pytest.raises(ValueError, match="1 rows of teacher logits for 2 unlabelled queries"):
        with_unlabelled(labelled, ["flight", "book"], np.zeros((1, 2)), tokenizer)
