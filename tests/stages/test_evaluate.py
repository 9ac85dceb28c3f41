"""evaluate: everything from cached logits, here made by hand, in a project in which no model was trained."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import compose, contents, run
from made import LABELS, logits_of, read
from safetensors.numpy import save_file

from intents.core import files
from intents.core.errors import PipelineError
from intents.data import corpus
from intents.data.corpus import Intents, Row
from intents.evaluation import statistics, threshold
from stages import evaluate

ROWS = ("student=[half,labels]", "prune=structured", "qat=none", "quantize=dynamic", "ort_quantize=static")
VARIANTS = [
    *("teacher", "half", "labels", "half-structured", "half-torch-dynamic"),
    *(f"{model}-{form}" for model in ("teacher", "half", "half-structured") for form in ("onnx", "ort-static")),
]
MODELS = VARIANTS[:4]
PARENTS = {
    "half-torch-dynamic": "half",
    **{f"{model}-onnx": model for model in ("teacher", "half", "half-structured")},
    **{f"{model}-ort-static": f"{model}-onnx" for model in ("teacher", "half", "half-structured")},
}
MEASURES = ("accuracy", "accuracy_with_rule")


def answers(seed: int) -> dict[str, np.ndarray]:
    """Logits of both splits, mostly right in scope and low out of it."""
    draw = np.random.default_rng(seed)
    found = {}
    for split in ("validation", "test"):
        logits = draw.normal(size=(40, 4)).astype(np.float32)
        logits[np.arange(40), LABELS] += np.where(LABELS == 3, 0.5, 2.5)
        found[split] = logits
    return found


def weights(name: str) -> tuple[dict[str, np.ndarray], int]:
    """Tensors of a model, another number of them for each, and how many numbers they hold."""
    place = MODELS.index(name)
    return {"matrix": np.zeros((3 + place, 4), np.float32), "bias": np.ones(5, np.float32)}, 4 * (3 + place) + 5


def file_of(name: str) -> str:
    if name in MODELS:
        return "model.safetensors"
    return "int8.safetensors" if "-torch-" in name else "model.onnx"


def lay_out() -> None:
    """In the current folder all that evaluate reads: files of models that no library could load, and random logits."""
    compose(*ROWS)
    intents = Intents.of({"daily": ["alarm", "music", "weather"]})
    rows = [Row(f"query {place}", intents.names[label]) for place, label in enumerate(LABELS)]
    corpus.save(Path("data/clinc"), dict.fromkeys(corpus.SPLITS, rows), intents)
    for folder in ("data/logits", "reports/models"):
        Path(folder).mkdir(parents=True)
    for place, name in enumerate(VARIANTS):
        path = Path("models") / name / file_of(name)
        path.parent.mkdir(parents=True)
        if name in MODELS:
            save_file(weights(name)[0], path)
        else:
            path.write_bytes(name.encode() * (place + 1) * 1000)
        save_file(answers(place), f"data/logits/{name}.safetensors")
        facts = {"validation": {"accuracy": -1.0}, "operators": {"MatMul": place}}
        Path(f"reports/models/{name}.json").write_text(json.dumps({name: facts}))


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A project made by hand, before and after evaluate."""
    before, after = (tmp_path_factory.mktemp(name) for name in ("before", "after"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(before)
        lay_out()
        shutil.copytree(before, after, dirs_exist_ok=True)
        monkeypatch.chdir(after)
        run(evaluate)
    return before, after


@pytest.fixture
def by_hand(projects: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project made by hand as the current folder."""
    monkeypatch.chdir(shutil.copytree(projects[0], tmp_path / "project"))
    return Path.cwd()


@pytest.fixture
def rows(projects: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The rows of its evaluation, and the project after it as the current folder."""
    monkeypatch.chdir(shutil.copytree(projects[1], tmp_path / "project"))
    return evaluated()


def evaluated() -> dict[str, dict[str, Any]]:
    return read("reports/evaluation.json")["variants"]


def scores(logits: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits[:, :3].astype(float)).sum(axis=1))


def right(name: str, at: float, split: str = "test") -> dict[str, np.ndarray]:
    """Which queries a variant answers rightly, by arg-max and with a threshold."""
    logits = logits_of(name)[split]
    plain = logits.argmax(axis=1)
    return {
        "accuracy": plain == LABELS,
        "accuracy_with_rule": np.where(scores(logits) < at, 3, plain) == LABELS,
    }


def test_every_declared_variant_has_a_row_in_the_order_of_the_table(rows: dict[str, dict[str, Any]]) -> None:
    assert list(rows) == VARIANTS
    assert list(read("reports/manifest.json")) == VARIANTS


def test_accuracies_are_those_of_the_logits_files(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        for ending, found in zip(("", "_with_rule"), right(name, row["threshold"]).values(), strict=True):
            assert row[f"accuracy{ending}"] == pytest.approx(found.mean(), abs=1e-6)
            assert row[f"in_scope_accuracy{ending}"] == pytest.approx(found[LABELS != 3].mean(), abs=1e-6)
            assert row[f"oos_recall{ending}"] == pytest.approx(found[LABELS == 3].mean(), abs=1e-6)
    assert len({row["accuracy_with_rule"] for row in rows.values()}) > 1
    assert any(row["accuracy"] != row["accuracy_with_rule"] for row in rows.values())


def test_validation_is_judged_with_the_same_threshold_and_at_the_expected_rate(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        found = right(name, row["threshold"], "validation")
        ruled = found["accuracy_with_rule"]
        expected = 0.8 * ruled[LABELS != 3].mean() + 0.2 * ruled[LABELS == 3].mean()
        assert row["validation"] == pytest.approx(
            {
                "accuracy": found["accuracy"].mean(),
                "accuracy_with_rule": ruled.mean(),
                "expected_accuracy_with_rule": expected,
            },
            abs=1e-6,
        )


def test_the_threshold_is_calibrated_on_validation_at_the_stated_rate(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        logits = logits_of(name)
        assert row["threshold"] == pytest.approx(threshold.calibrate(logits["validation"], LABELS, 0.2), abs=1e-6)
    assert len({row["threshold"] for row in rows.values()}) == len(VARIANTS)
    compose(*ROWS, "out_of_scope.rate=0.9")
    run(evaluate)
    moved = [row["threshold"] - rows[name]["threshold"] for name, row in evaluated().items()]
    assert min(moved) >= 0
    assert max(moved) > 0


def test_parity_is_that_of_the_logits_files_with_the_model_that_it_was_converted_from(
    rows: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, row in rows.items() if "parity" in row} == set(PARENTS)
    for name, parent in PARENTS.items():
        theirs, ours = (logits_of(variant)["validation"] for variant in (parent, name))
        assert rows[name]["parity"] == pytest.approx(
            {
                "parent": parent,
                "queries": 40,
                "max_logit_difference": np.abs(theirs - ours).max(),
                "mean_logit_difference": np.abs(theirs - ours).mean(),
                "agreement": (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean(),
            },
            abs=1e-6,
        )


def test_changes_are_against_the_teacher_query_by_query(rows: dict[str, dict[str, Any]]) -> None:
    found = {name: right(name, row["threshold"]) for name, row in rows.items()}
    for name, row in rows.items():
        for measure in MEASURES:
            change, interval = statistics.paired_difference(
                found[name][measure], found["teacher"][measure], samples=10000, seed=0
            )
            assert row[f"{measure}_change"] == pytest.approx(row[measure] - rows["teacher"][measure], abs=2e-6)
            assert row[f"{measure}_change"] == pytest.approx(change, abs=1e-6)
            assert row[f"{measure}_change_interval"] == pytest.approx(list(interval), abs=1e-6)
            assert row[f"{measure}_change_interval"][0] <= change <= row[f"{measure}_change_interval"][1]
    assert rows["teacher"]["accuracy_change"] == 0
    assert rows["teacher"]["accuracy_change_interval"] == [0, 0]
    assert any(row["accuracy_change"] < 0 for row in rows.values())


def test_a_control_says_what_distilling_gained(rows: dict[str, dict[str, Any]]) -> None:
    assert [name for name, row in rows.items() if "distilled" in row] == ["labels"]
    distilled, control = (right(name, rows[name]["threshold"])["accuracy_with_rule"] for name in ("half", "labels"))
    gain, interval = statistics.paired_difference(distilled, control, samples=10000, seed=0)
    assert rows["labels"]["distilled"] == {
        "against": "half",
        "accuracy_with_rule": rows["half"]["accuracy_with_rule"],
        "gain": pytest.approx(distilled.mean() - control.mean(), abs=1e-6),
        "gain_interval": pytest.approx(list(interval), abs=1e-6),
    }
    assert gain != 0


def test_what_the_maker_said_is_kept_but_for_the_accuracy_that_is_computed_anew(
    rows: dict[str, dict[str, Any]],
) -> None:
    for place, (name, row) in enumerate(rows.items()):
        assert row["operators"] == {"MatMul": place}, name
        assert row["validation"]["accuracy"] >= 0


def test_which_queries_were_answered_rightly_is_kept(rows: dict[str, dict[str, Any]]) -> None:
    with Path("reports/correct.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["test_row", *VARIANTS]
    assert [int(line["test_row"]) for line in table] == list(range(40))
    for name, row in rows.items():
        found = np.array([int(line[name]) for line in table])
        assert (found == right(name, row["threshold"])["accuracy_with_rule"]).all()


def test_the_digest_is_over_the_answers_that_the_rule_gives(by_hand: Path) -> None:
    """half-onnx answers as half does, with other logits; half-structured-onnx differs from its model in one answer."""
    for parent, place in (("half", 1), ("half-structured", 3)):
        save_file(
            {split: logits + 1e-5 for split, logits in answers(place).items()},
            f"data/logits/{parent}-onnx.safetensors",
        )
    logits = logits_of("half-structured-onnx")
    logits["test"][0] = [0, 0, 9, 0]
    save_file(logits, "data/logits/half-structured-onnx.safetensors")
    run(evaluate)
    digests = {name: row["answers_sha256"] for name, row in evaluated().items()}
    assert digests["half-onnx"] == digests["half"]
    assert digests["half-structured-onnx"] != digests["half-structured"]


def test_the_manifest_has_the_file_its_size_and_its_digests(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in read("reports/manifest.json").items():
        path = Path("models") / name / file_of(name)
        model = next(model for model in sorted(MODELS, key=len, reverse=True) if name.startswith(model))
        assert row == {
            "folder": f"models/{name}",
            "file": path.name,
            "sha256": files.sha256(path.read_bytes()),
            "size_mb": pytest.approx(len(path.read_bytes()) / 2**20, abs=1e-6),
            "parameters": weights(model)[1],
            "logits_sha256": files.sha256(Path(f"data/logits/{name}.safetensors").read_bytes()),
        }


def test_another_rate_changes_no_byte_of_the_manifest(rows: dict[str, dict[str, Any]]) -> None:
    before = contents(Path("reports"))
    compose(*ROWS, "out_of_scope.rate=0.5")
    run(evaluate)
    after = contents(Path("reports"))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"evaluation.json", "correct.csv"}


def change_weights() -> None:
    path = Path("models/half-onnx/model.onnx")
    path.write_bytes(path.read_bytes()[::-1])


def change_logits() -> None:
    save_file(answers(99), "data/logits/half-onnx.safetensors")


@pytest.mark.parametrize(
    ("change", "keys"), [(change_weights, {"sha256"}), (change_logits, {"logits_sha256"})], ids=["weights", "logits"]
)
@pytest.mark.usefixtures("rows")
def test_a_model_that_was_made_anew_is_another_in_the_manifest(change: Callable[[], None], keys: set[str]) -> None:
    before = read("reports/manifest.json")
    change()
    run(evaluate)
    after = read("reports/manifest.json")
    differing = {(name, key) for name in after for key in after[name] if after[name][key] != before[name][key]}
    assert differing == {("half-onnx", key) for key in keys}


@pytest.mark.usefixtures("rows")
def test_the_same_again_gives_the_same_bytes() -> None:
    before = contents(Path())
    run(evaluate)
    assert contents(Path()) == before


@pytest.mark.usefixtures("rows")
def test_what_is_left_of_a_variant_that_is_no_longer_declared_changes_nothing() -> None:
    """A technique that was given up leaves its folders behind."""
    compose(*ROWS, "prune=structured", "~variants.rows.onnx.structured")
    run(evaluate)
    fewer = contents(Path("reports"))
    names = list(evaluated())
    assert names == [name for name in VARIANTS if not name.startswith("half-structured-")]
    for name in ("half-structured-onnx", "half-structured-ort-static"):
        (Path("models") / name / "model.onnx").unlink()
        Path(f"data/logits/{name}.safetensors").unlink()
    run(evaluate)
    assert contents(Path("reports")) == fewer


@pytest.mark.usefixtures("rows")
def test_models_left_out_of_the_variants_are_left_out_of_every_file() -> None:
    compose(*ROWS, "~variants.rows.models.structured", "~variants.rows.onnx.structured")
    run(evaluate)
    left = [name for name in VARIANTS if not name.startswith("half-structured")]
    assert list(evaluated()) == list(read("reports/manifest.json")) == left
    assert Path("reports/correct.csv").read_text().splitlines()[0].split(",") == ["test_row", *left]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("data/clinc/test.jsonl", "data/clinc/test.jsonl not found; run `dvc repro fetch-clinc`"),
        ("data/logits/teacher-onnx.safetensors", "run `dvc repro onnx-export@teacher`"),
        ("data/logits/labels.safetensors", "run `dvc repro distill@labels`"),
        ("reports/models/half-structured.json", "half-structured.json not found; run `dvc repro prune@structured`"),
        ("models/teacher", "models/teacher/model.safetensors not found; run `dvc repro finetune-teacher`"),
        ("models/half-torch-dynamic/int8.safetensors", "int8.safetensors not found; run `dvc repro quantize@half-dyn"),
        ("models/half-ort-static/model.onnx", "model.onnx not found; run `dvc repro ort-quantize@half-static`"),
    ],
)
@pytest.mark.usefixtures("rows")
def test_without_what_it_needs_it_says_what_to_run_and_writes_nothing(
    tmp_path_factory: pytest.TempPathFactory, gone: str, message: str
) -> None:
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("rate: 0.2", "rate: 0.5"))  # else the same would be written again
    Path(gone).rename(tmp_path_factory.mktemp("elsewhere") / "gone")
    before = contents(Path())
    with pytest.raises(PipelineError, match=message):
        run(evaluate)
    assert contents(Path()) == before


def test_in_the_tiny_project_it_judges_every_variant(built_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built_once)
    for name, row in evaluated().items():
        found = right(name, row["threshold"])
        for measure in MEASURES:
            assert row[measure] == pytest.approx(found[measure].mean(), abs=1e-6)
        said = read(f"reports/models/{name}.json")[name]
        assert row["validation"]["accuracy"] == said.pop("validation")["accuracy"]
        assert {key: row[key] for key in said} == said
