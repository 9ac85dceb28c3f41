"""narrow: the student's shape, and what it takes from its teacher."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from intents.core.errors import PipelineError
from intents.models.narrow import narrow, principal_components, word_vectors


@pytest.fixture
def teacher() -> BertForSequenceClassification:
    torch.manual_seed(0)
    names = ["balance", "flight", "oos"]
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            id2label=dict(enumerate(names)),
            label2id={name: label for label, name in enumerate(names)},
        )
    )


def test_the_student_has_the_shape_and_the_teachers_labels(teacher: BertForSequenceClassification) -> None:
    words = torch.randn(20, 16)
    student = narrow(
        teacher.config.id2label, hidden=16, layers=1, heads=2, feed_forward=24, words=words, padding=3, positions=10
    )
    assert type(student) is BertForSequenceClassification
    assert student.config.id2label == teacher.config.id2label
    layer = student.base_model.encoder.layer
    assert len(layer) == 1
    assert layer[0].intermediate.dense.weight.shape == (24, 16)
    assert student.base_model.embeddings.position_embeddings.weight.shape == (10, 16)
    assert student(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3)
    torch.testing.assert_close(student.get_input_embeddings().weight.detach(), words)
    assert (student.config.vocab_size, student.config.pad_token_id) == (20, 3)


def test_word_vectors_keep_their_distances_when_all_components_are_kept() -> None:
    torch.manual_seed(0)
    words = torch.randn(50, 32)
    found = word_vectors([words], 32)
    torch.testing.assert_close(torch.pdist(found), torch.pdist(words), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("size", "shares"), [(16, (8, 8)), (7, (4, 3)), (2, (1, 1))])
def test_tables_have_equal_shares_of_the_width_and_one_spread(size: int, shares: tuple[int, int]) -> None:
    torch.manual_seed(0)
    tables = [torch.randn(50, 12), 100 * torch.randn(50, 20) + 3]
    found = word_vectors(tables, size)
    assert found.shape == (50, size)
    first, second = principal_components(tables[0], shares[0]), principal_components(tables[1], shares[1])
    torch.testing.assert_close(found[:, : shares[0]], first)
    rest = found[:, shares[0] :]
    torch.testing.assert_close(rest / rest.norm(), second / second.norm())
    torch.testing.assert_close(rest.square().mean(), first.square().mean())


def test_layers_keep_the_size_of_what_goes_through_them(teacher: BertForSequenceClassification) -> None:
    student = narrow(teacher.config.id2label, hidden=32, layers=1, heads=2, feed_forward=128, words=torch.randn(50, 32))
    layer = student.base_model.encoder.layer[0]
    for linear, inputs in ((layer.attention.self.value, 32), (layer.output.dense, 128), (student.classifier, 32)):
        assert linear.weight.std().item() == pytest.approx(inputs**-0.5, rel=0.25)
        assert not linear.bias.any()


def test_components_are_those_of_most_variance_in_order() -> None:
    torch.manual_seed(0)
    table = torch.randn(200, 5) * torch.tensor([1.0, 5.0, 0.1, 3.0, 0.5]) + 7
    found = principal_components(table, 3)
    _, spread, _ = torch.linalg.svd(table - table.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(found.norm(dim=0), spread[:3])
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)


def test_a_shape_that_cannot_be_is_refused(teacher: BertForSequenceClassification) -> None:
    with pytest.raises(PipelineError, match="a hidden size of 16 is no multiple of 3 heads"):
        narrow(teacher.config.id2label, hidden=16, layers=1, heads=3, feed_forward=24, words=torch.randn(50, 16))
    with pytest.raises(PipelineError, match=r"64 components .* width 32 .*; allowed: 1 to 32"):
        word_vectors([torch.randn(50, 32)], 64)
