"""settings: a value that cannot be one is refused in a line that names the key, the value and what is allowed."""

from pathlib import Path

import pytest
from conftest import compose

from intents.core import settings, table, variants
from intents.core.errors import PipelineError
from intents.core.settings import parse
from intents.core.techniques import settings_of
from intents.int8.calibration import Calibration
from intents.onnx.static import Settings as Static
from intents.training.distillation import Distillation
from intents.training.student import Student
from intents.training.trainer import Run
from stages.augment import Augment
from stages.benchmark import Benchmark
from stages.evaluate import Evaluate
from stages.finetune_teacher import Teacher
from stages.qat import QuantizationAwareTraining
from stages.sensitivity import Sensitivity
from tools import params
from tools.search.config import Search

RUN = {"seed": 0, "device": "auto", "precision": "auto"}
# Each with its section, and the key of its seed.
SEEDED = [
    (Run, "run", "seed"),
    (Student, "student.half", "seed"),
    (Augment, "augment", "seed"),
    (Calibration, "qat", "draw_seed"),
    (Static, "ort_quantize.static", "seed"),
    (Benchmark, "benchmark", "seed"),
    (Evaluate, "evaluate", "seed"),
    (Sensitivity, "sensitivity", "seed"),
    (Search, "tune.search", "seed"),
    *((settings_of("intents.peers", peer), f"peers.{peer}", "seed") for peer in ("tfidf", "model2vec", "openvino")),
]
NUMBERS = [
    (Distillation, "distill", "learning_rate", "a finite number above 0 to 1"),
    (Distillation, "distill", "temperature", "a finite number above 0 to 1000"),
    (Distillation, "distill", "weight_decay", "a finite number from 0 to 10"),
    (Student, "student.half", "temperature", "a finite number above 0 to 1000, or null"),
    (Teacher, "teacher", "head_rate", "a finite number above 0 to 1000"),
    (Teacher, "teacher", "out_of_scope_weight", "a finite number above 0 to 10000"),
    (QuantizationAwareTraining, "qat", "range_learning_rate", "a finite number above 0 to 1"),
]


def refused(kind: type, section: str, **values: object) -> str:
    with pytest.raises(PipelineError) as error:
        parse(kind, values, section)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 400
    return str(error.value)


@pytest.mark.parametrize(("kind", "section", "key"), SEEDED)
@pytest.mark.parametrize("seed", [-1, 2**32, 20251125034500])
def test_a_seed_has_32_bits(kind: type, section: str, key: str, seed: int) -> None:
    """Any other would end in NumPy, with a traceback."""
    allowed = "a whole number from 0 to 4294967295"
    with pytest.raises(PipelineError, match=rf"`{section}.{key}` is {seed}; allowed: {allowed}(, or null)?$"):
        settings._check_ranges(made(kind, **{key: seed}), section)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_that_of_fasttext_has_31(seed: int) -> None:
    with pytest.raises(
        PipelineError, match=rf"`peers.fasttext.seed` is {seed}; allowed: a whole number from 0 to 2147"
    ):
        settings._check_ranges(made(settings_of("intents.peers", "fasttext"), seed=seed), "peers.fasttext")


def made(kind: type, **values: object) -> object:
    """An instance whose other fields are null, so that its ranges can be looked at alone."""
    found = object.__new__(kind)
    for name in kind.__dataclass_fields__:
        object.__setattr__(found, name, values.get(name))
    return found


def test_the_largest_seed_is_one() -> None:
    assert parse(Run, RUN | {"seed": 2**32 - 1}, "run").seed == 4294967295


@pytest.mark.parametrize(("kind", "section", "key", "allowed"), NUMBERS)
@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf")])
def test_what_is_infinite_or_none_is_no_setting(kind: type, section: str, key: str, allowed: str, value: float) -> None:
    with pytest.raises(PipelineError) as error:
        settings._check_ranges(made(kind, **{key: value}), section)
    assert str(error.value) == f"`{section}.{key}` is {value}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("learning_rate", 1e10, "a number above 0 to 1"),
        ("temperature", 1e25, "a number above 0 to 1000"),
        ("weight_decay", 11.0, "a number from 0 to 10"),
    ],
)
def test_what_means_nothing_is_no_setting(key: str, value: float, allowed: str) -> None:
    with pytest.raises(PipelineError) as error:
        settings._check_ranges(made(Distillation, **{key: value}), "distill")
    assert str(error.value) == f"`distill.{key}` is {value}; allowed: {allowed}"


def test_in_a_mapping_too() -> None:
    found = refused(
        Augment, "augment", number=1, seed=0, out_of_scope=0.0, recipe={"splice": 1.0, "thin": float("inf")}
    )
    assert found == "`augment.recipe.thin` is inf; allowed: a finite number for each key"


def test_a_long_value_is_shown_by_its_beginning() -> None:
    found = refused(Run, "run", **RUN | {"seed": "x" * 10_000})
    assert found.endswith("xxx…; allowed: a whole number from 0 to 4294967295")


@pytest.mark.parametrize("content", ["run: {device: 'größer'}", "# größer\n"])
@pytest.mark.parametrize("read", [lambda: settings.load(Run, "run"), lambda: params._loaded(settings.PARAMS)])
def test_a_file_that_is_not_utf_8_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, read: object
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(PipelineError, match=r"^params\.yaml (is not UTF-8|cannot be read): .*byte") as error:
        read()  # type: ignore[operator]
    assert "\n" not in str(error.value)


# The students.


@pytest.mark.parametrize("name", ["my-student", "Half", "half!", "", "teacher", "ümlaut"])
def test_a_student_of_a_name_that_would_be_another_variants_is_refused(name: str) -> None:
    with pytest.raises(PipelineError, match=r"`student` has a section .*; allowed: lower-case letters, digits and _"):
        variants.student(name)
    with pytest.raises(PipelineError, match=r"`student` has a section "):
        table.check_students({"student": {"half": {}, name: {}}})


@pytest.mark.parametrize("name", ["half", "half_2", "7"])
def test_other_names_of_students_are_taken(name: str) -> None:
    assert variants.student(name) == variants.parse(name)


def test_where_no_student_is_the_main_one_the_composition_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"`variants.student` is null.*; allowed: the name of a section of `stud"):
        compose("student=[narrow]")


@pytest.mark.parametrize("read", [table.load, table.declared])
def test_and_so_does_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object) -> None:
    monkeypatch.chdir(tmp_path)
    compose()
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("variants:\n  student: half\n", "variants:\n  student: null\n"))
    with pytest.raises(PipelineError, match=r"`variants.student` is null; allowed: the name of a section of `student`"):
        read()  # type: ignore[operator]


def test_a_control_that_is_compared_with_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose("student=[half,labels]", "variants.controls={labels: gone}")
    with pytest.raises(PipelineError, match=r"`variants.controls` has 'gone'; allowed: teacher, "):
        table.declared()
