"""narrow: the student's shape, and what it takes from its teacher."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from intents.core.errors import PipelineError
from intents.models.narrow import narrow, principal_components


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
    student = narrow(teacher, hidden=16, layers=1, heads=2, feed_forward=24, positions=10)
    assert type(student) is BertForSequenceClassification
    assert student.config.id2label == teacher.config.id2label
    layer = student.base_model.encoder.layer
    assert len(layer) == 1
    assert layer[0].intermediate.dense.weight.shape == (24, 16)
    assert student.base_model.embeddings.position_embeddings.weight.shape == (10, 16)
    assert student(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3)


def test_word_vectors_keep_their_distances_when_all_components_are_kept(
    teacher: BertForSequenceClassification,
) -> None:
    words = teacher.get_input_embeddings().weight
    student = narrow(teacher, hidden=32, layers=1, heads=2, feed_forward=24).get_input_embeddings().weight
    torch.testing.assert_close(torch.cdist(student, student), torch.cdist(words, words), atol=1e-4, rtol=1e-4)


def test_layers_keep_the_size_of_what_goes_through_them(teacher: BertForSequenceClassification) -> None:
    student = narrow(teacher, hidden=32, layers=1, heads=2, feed_forward=128)
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


def test_a_cut_vocabulary_may_have_fewer_pieces(teacher: BertForSequenceClassification) -> None:
    words = teacher.get_input_embeddings().weight[:20]
    student = narrow(teacher, hidden=8, layers=1, heads=2, feed_forward=24, words=words)
    torch.testing.assert_close(student.get_input_embeddings().weight, principal_components(words.detach(), 8))
    assert student.config.vocab_size == 20


def test_a_shape_that_cannot_be_is_refused(teacher: BertForSequenceClassification) -> None:
    with pytest.raises(PipelineError, match="a hidden size of 16 is no multiple of 3 heads"):
        narrow(teacher, hidden=16, layers=1, heads=3, feed_forward=24)
    with pytest.raises(PipelineError, match=r"64 components .* width 32 .*; allowed: 1 to 32"):
        narrow(teacher, hidden=64, layers=1, heads=4, feed_forward=24)
