"""student: what it starts from, layers of the teacher or a checkpoint, and the settings that are its own."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from intents.core.errors import PipelineError
from intents.core.settings import parse
from intents.data.corpus import Corpus
from intents.training import student
from intents.training.distillation import Distillation
from intents.training.student import Student
from intents.training.trainer import Run

NOTHING = {field.name: None for field in dataclasses.fields(Student)} | {
    "answers": "data/logits/teacher.safetensors",
    "objective": "labels_and_divergence",
    "emphasis": 0.0,
}
SHAPE = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 24, "dropout": 0.0}
DISTILL = {
    "answers": "data/logits/teacher.safetensors",
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 0.01,
    "warmup": 0.1,
    "weight_decay": 0.0,
}


def of(**settings: object) -> Student:
    return parse(Student, NOTHING | settings, "student.half")


def initial(project: Path, **settings: object) -> torch.nn.Module:
    data = Corpus(project / "data/clinc")
    return student.initial(of(**settings), "half", project / "models/teacher", data)[0]


@pytest.mark.parametrize("layers", [[1, 3], [0], [0, 1, 2, 3]])
def test_a_student_starts_with_the_chosen_layers_and_all_else_of_the_teacher(
    built_once: Path, layers: list[int]
) -> None:
    teacher = load_file(built_once / "models/teacher/model.safetensors")
    model = initial(built_once, layers=layers)
    assert model.config.num_hidden_layers == len(layers)
    found = model.state_dict()
    expected = {name: tensor for name, tensor in teacher.items() if "layer." not in name}
    for place, layer in enumerate(layers):
        theirs = {name: tensor for name, tensor in teacher.items() if f"layer.{layer}." in name}
        expected |= {name.replace(f"layer.{layer}.", f"layer.{place}."): tensor for name, tensor in theirs.items()}
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), tensor)


def test_a_student_from_a_checkpoint_has_its_layers_and_a_head_for_our_intents(
    built_once: Path, tiny_checkpoint: Path
) -> None:
    model = initial(built_once, checkpoint=str(tiny_checkpoint))
    weights = load_file(tiny_checkpoint / "model.safetensors")
    for name, tensor in model.base_model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])
    assert model.classifier.weight.shape == (4, 32)


@pytest.mark.parametrize("others", ["spelt", "nearest"])
@pytest.mark.parametrize("vocabulary", [None, {"seen": 2, "common": 0}, {"seen": 2, "common": 200}])
def test_a_student_from_a_shape_has_it_and_knows_no_more_words_than_asked_for(
    built_once: Path, vocabulary: dict[str, int] | None, others: str
) -> None:
    data, teacher = Corpus(built_once / "data/clinc"), built_once / "models/teacher"
    vocabulary = vocabulary and vocabulary | {"others": others}
    model, tokenizer = student.initial(of(shape=SHAPE, vocabulary=vocabulary), "narrow", teacher, data)
    assert (model.config.hidden_size, model.config.num_hidden_layers, model.config.intermediate_size) == (16, 1, 24)
    words = model.get_input_embeddings().weight.shape[0]
    assert words == len(set(tokenizer.get_vocab().values()))
    assert (words < len(tokenizer)) == (others == "nearest" and vocabulary is not None)
    assert (words < 1000) == (vocabulary is not None)
    if vocabulary:
        alone = student.initial(of(shape=SHAPE, vocabulary=vocabulary | {"common": 0}), "narrow", teacher, data)[1]
        assert vocabulary["common"] * 0.8 <= words - len(set(alone.get_vocab().values())) <= vocabulary["common"]
    assert model.classifier.weight.shape == (4, 16)


def test_the_source_of_a_student_is_the_teacher_or_its_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert student.source(of(layers=[1]), "half", tmp_path) == tmp_path
    assert student.source(of(shape=SHAPE), "half", tmp_path) == tmp_path
    assert student.source(of(checkpoint=str(tiny_checkpoint)), "half", tmp_path) == tiny_checkpoint


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, "none"),
        ({"layers": [1], "checkpoint": "./own"}, "layers, checkpoint"),
        ({"layers": [1], "shape": SHAPE}, "layers, shape"),
    ],
)
def test_a_student_has_one_source(tmp_path: Path, settings: dict[str, object], given: str) -> None:
    with pytest.raises(PipelineError, match=rf"^one of `student.half.layers`, .* must be given.*; given: {given}$"):
        student.source(of(**settings), "half", tmp_path)


@pytest.mark.parametrize(("own", "expected"), [(None, 0.2), (1.0, 1.0), (0.0, 0.0)])
def test_a_student_learns_by_its_own_alpha_if_it_has_one(own: float | None, expected: float) -> None:
    shared = parse(Distillation, DISTILL | {"alpha": 0.2, "temperature": 4.0}, "distill")
    found = of(layers=[1], alpha=own).lesson(shared)
    assert found == parse(Distillation, DISTILL | {"alpha": expected, "temperature": 4.0}, "distill")


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", 1.0), ("epochs", 2), ("warmup", 0.0), ("answers", "data/augmented")]
)
def test_every_value_of_a_lesson_can_be_a_students_own(key: str, value: float | str) -> None:
    shared = parse(Distillation, DISTILL | {"alpha": 0.2, "temperature": 4.0}, "distill")
    assert of(layers=[1], **{key: value}).lesson(shared) == dataclasses.replace(shared, **{key: value})


@pytest.mark.parametrize(("own", "expected"), [(None, 7), (3, 3), (0, 0)])
def test_a_student_is_seeded_by_its_own_seed_if_it_has_one(own: int | None, expected: int) -> None:
    shared = parse(Run, {"seed": 7, "device": "cpu", "precision": "fp32"}, "run")
    found = of(layers=[1], seed=own).run(shared)
    assert found == parse(Run, {"seed": expected, "device": "cpu", "precision": "fp32"}, "run")


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", 1.5), ("alpha", -1.0), ("seed", -1), ("temperature", 0.0), ("epochs", 0)]
)
def test_a_setting_of_its_own_out_of_range_is_refused(key: str, value: float) -> None:
    with pytest.raises(PipelineError, match=rf"`student.half.{key}` is {value}; allowed: a .*, or null$"):
        of(**{key: value})


def test_a_value_of_a_shape_out_of_range_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"`student.half.shape.heads` is 0; allowed: a whole number, 1 or more"):
        of(shape=SHAPE | {"heads": 0})


def test_a_shape_is_given_whole() -> None:
    some = {key: value for key, value in SHAPE.items() if key != "heads"}
    with pytest.raises(PipelineError, match=r"params.yaml has no `student.half.shape.heads`; `make params`"):
        of(shape=some)
