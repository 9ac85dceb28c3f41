"""benchmark: the clock. Each figure can be computed again from the timed calls, and nothing else is read or said."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import part
import pytest
from conftest import compose, contents, run
from made import logits_of, read, texts
from safetensors.numpy import save_file

from intents.core.errors import PipelineError
from intents.core.variants import Variant, parse
from intents.int8 import kernels
from intents.models import encoder
from intents.serving.classifier import OnnxModel
from intents.serving.rule import Rule
from stages import benchmark

FEW = ("teacher", "half", "half-torch-dynamic", "half-ort-static")  # one of each form, and the teacher
FIGURES = {
    *("time_avg_ms", "time_std_ms", "p50_ms", "p95_ms", "p99_ms"),
    *("speedup_vs_teacher", "speedup_interval", "served_agreement", "queries_per_second"),
}
STARTED = {"first_answer_ms", "peak_memory_mb"}  # figures of the deployable variants alone


@pytest.fixture
def report(reading: Path) -> dict[str, Any]:
    return read("reports/latency.json")


@pytest.fixture
def table(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return report["variants"]


@pytest.fixture
def timings(reading: Path) -> list[dict[str, str]]:
    return calls()


def calls() -> list[dict[str, str]]:
    with Path("reports/timings.csv").open() as file:
        return list(csv.DictReader(file))


def milliseconds(timings: list[dict[str, str]], measure: str, variant: str) -> list[float]:
    return [float(row["ms"]) for row in timings if (row["measure"], row["variant"]) == (measure, variant)]


def test_every_variant_of_the_manifest_is_timed_in_its_order(table: dict[str, dict[str, Any]]) -> None:
    assert list(table) == list(read("reports/manifest.json"))
    for name, figures in table.items():
        assert set(figures) == FIGURES | (STARTED if "-onnx" in name or "-ort-" in name else set())
        assert all(np.isfinite(figures[key]) and figures[key] >= 0 for key in FIGURES - {"speedup_interval"}), name
        assert figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["time_avg_ms"] > 0


def test_the_machine_is_described(report: dict[str, Any]) -> None:
    assert report["machine"]["cpu"]
    assert report["machine"]["threads"] == 1
    assert set(report["machine"]["libraries"]) >= {"torch", "transformers", "onnxruntime", "tokenizers"}


def test_the_teacher_is_what_the_others_are_measured_against(table: dict[str, dict[str, Any]]) -> None:
    assert table["teacher"]["speedup_vs_teacher"] == 1
    assert table["teacher"]["speedup_interval"] == [1, 1]


def test_every_timed_call_is_kept_and_gives_the_figures(
    table: dict[str, dict[str, Any]], timings: list[dict[str, str]]
) -> None:
    assert list(timings[0]) == ["measure", "variant", "call", "test_row", "ms"]
    started = [name for name in table if "-onnx" in name or "-ort-" in name]
    assert len(timings) == len(table) * (3 + 5 + 2) + len(started)
    for name, figures in table.items():
        reference, real = (milliseconds(timings, measure, name) for measure in ("reference", "real"))
        assert (len(reference), len(real)) == (3, 5)
        assert figures["time_avg_ms"] == pytest.approx(np.mean(reference), abs=2e-4)
        assert figures["time_std_ms"] == pytest.approx(np.std(reference), abs=2e-4)
        for percentile in (50, 95, 99):
            assert figures[f"p{percentile}_ms"] == pytest.approx(np.percentile(real, percentile), abs=2e-4)
        speedup = np.median(milliseconds(timings, "real", "teacher")) / np.median(real)
        assert figures["speedup_vs_teacher"] == pytest.approx(speedup, rel=2e-3)
        low, high = figures["speedup_interval"]
        assert low <= figures["speedup_vs_teacher"] <= high
        batches = milliseconds(timings, "batch", name)
        assert len(batches) == 2
        assert figures["queries_per_second"] == pytest.approx(4 * 1000 / np.median(batches), rel=2e-3)
        if name in started:
            assert milliseconds(timings, "first", name) == [pytest.approx(figures["first_answer_ms"], abs=2e-4)]
            assert 10 < figures["peak_memory_mb"] < 2000  # NumPy and ONNX Runtime alone hold some dozens


def test_all_variants_answer_the_same_queries_of_the_test_split(
    table: dict[str, dict[str, Any]], timings: list[dict[str, str]]
) -> None:
    real = [row for row in timings if row["measure"] == "real"]
    asked = {name: [row["test_row"] for row in real if row["variant"] == name] for name in table}
    assert len({tuple(rows) for rows in asked.values()}) == 1
    rows = [int(row) for row in asked["teacher"]]
    assert len(set(rows)) == 5
    assert all(0 <= row < 40 for row in rows)


def test_served_answers_are_those_that_accuracy_was_computed_from(table: dict[str, dict[str, Any]]) -> None:
    assert {name: figures["served_agreement"] for name, figures in table.items()} == dict.fromkeys(table, 1.0)


def test_the_product_of_a_linear_layer_is_timed_on_the_main_students_widest_matrix(report: dict[str, Any]) -> None:
    multiply = report["multiply"]
    assert {multiply["outputs"], multiply["inputs"]} == {32, 64}  # of the tiny encoder's feed-forward layers
    assert set(multiply["tokens"]) == {"1", "4", "16", "64"}
    assert all(figures["int8_us"] > 0 for figures in multiply["tokens"].values())


# With a manifest of a few variants.


@pytest.fixture
def few(built_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a few variants and their manifest: what benchmark reads, and nothing else."""
    monkeypatch.chdir(part.copy(built_once, tmp_path / "project", *FEW))
    manifest = json.loads((built_once / "reports/manifest.json").read_text())
    Path("reports/manifest.json").write_text(json.dumps({name: manifest[name] for name in FEW}))
    for path in Path("reports/models").iterdir():
        path.unlink()
    return tmp_path / "project"


def test_it_reads_the_manifest_and_the_models_and_writes_what_the_clock_said(few: Path) -> None:
    """Neither an evaluation nor what the makers said is there, and the settings declare more variants."""
    before = contents(few)
    run(benchmark)
    after = contents(few)
    assert set(after) - set(before) == {"reports/latency.json", "reports/timings.csv"}
    assert {name: digest for name, digest in after.items() if name in before} == before
    assert list(read("reports/latency.json")["variants"]) == list(FEW)


@pytest.mark.usefixtures("few")
def test_batches_are_of_the_size_asked_for_and_the_same_for_all_variants(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[list[str]]] = {}
    loaded = benchmark.served

    def served(variant: Variant, rule: Rule, threads: int) -> benchmark.Served:
        def batch(queries: list[str]) -> object:
            asked.setdefault(variant.name, []).append(queries)
            return found.batch(queries)

        found = loaded(variant, rule, threads)
        return found._replace(batch=batch)

    monkeypatch.setattr(benchmark, "served", served)
    compose(*overrides, "benchmark.batch_size=64", "benchmark.batches=3", "benchmark.starts=0", "benchmark.calls=1")
    run(benchmark)
    assert list(asked) == list(FEW)
    assert all(batches == asked["teacher"] for batches in asked.values())
    warming, *timed = asked["teacher"]
    assert [len(batch) for batch in timed] == [64] * 3  # of 40 queries in the test split
    assert warming == timed[0] != timed[1]
    figures = read("reports/latency.json")["variants"]
    assert not STARTED & set(figures["half-ort-static"])  # no start was asked for


@pytest.mark.usefixtures("few")
def test_a_batch_has_the_answers_of_its_queries(few: Path) -> None:
    intents = ["alarm", "music", "weather", "oos"]
    queries = texts("test")[::5]
    for name in FEW:
        found = benchmark.served(parse(name), Rule(intents, threshold=-1e9, rate=0.5), 1)
        alone = [found.one(query) for query in queries]
        together = [answer["label"] if isinstance(answer, dict) else answer for answer in found.batch(queries)]
        named = [
            answer if isinstance(answer, str) else intents[-1] if answer.out_of_scope else answer.intent
            for answer in together
        ]
        assert named == alone, name


@pytest.mark.usefixtures("few")
def test_of_fewer_queries_than_are_asked_for_each_is_asked_once(overrides: list[str]) -> None:
    compose(*overrides, "benchmark.queries=1000", "benchmark.calls=1")
    run(benchmark)
    asked = [int(row["test_row"]) for row in calls() if (row["variant"], row["measure"]) == ("half", "real")]
    assert sorted(asked) == list(range(40))


@pytest.mark.usefixtures("few")
def test_answers_that_are_not_those_of_the_cached_logits_are_told(overrides: list[str]) -> None:
    compose(*overrides, "benchmark.queries=40", "benchmark.calls=1")
    for name in ("half", "half-ort-static"):
        logits = logits_of(name)
        turned = np.roll(logits["test"], 1, axis=1)  # every answer becomes the next one
        half = np.arange(40) < (40 if name == "half" else 10)
        save_file(logits | {"test": np.where(half[:, None], turned, logits["test"])}, f"data/logits/{name}.safetensors")
    run(benchmark)
    agreement = {name: row["served_agreement"] for name, row in read("reports/latency.json")["variants"].items()}
    assert agreement == {"teacher": 1.0, "half": 0.0, "half-torch-dynamic": 1.0, "half-ort-static": 0.75}


@pytest.mark.usefixtures("reading")
def test_of_a_query_longer_than_the_models_read_all_variants_read_the_same_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}

    def recording(load: Callable[..., Any]) -> Callable[..., Any]:
        def loaded(folder: Path, *rest: Any) -> Any:
            def note(_: object, __: object, given: dict[str, Any]) -> None:
                found[folder.name] = given["input_ids"][0].tolist()

            model = load(folder, *rest)
            model.register_forward_pre_hook(note, with_kwargs=True)
            return model

        return loaded

    monkeypatch.setattr(encoder, "load_classifier", recording(encoder.load_classifier))
    monkeypatch.setattr(kernels, "load", recording(kernels.load))
    query = "please wake me in the morning " * 60
    for name in FEW:
        assert benchmark.served(parse(name), Rule(["alarm", "music", "weather", "oos"], -1e9, 0.5), 1).one(query)
    served = OnnxModel(Path("models/half-ort-static")).inputs(query)["input_ids"][0].tolist()
    assert len(served) == 64
    assert found == dict.fromkeys(FEW[:3], served)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("models/teacher", "models/teacher/model.safetensors not found; run `dvc repro finetune-teacher@teacher`"),
        ("models/half-torch-dynamic/int8.safetensors", "int8.safetensors not found; run `dvc repro quantize@half-dyn"),
        ("models/half-ort-static/model.onnx", "model.onnx not found; run `dvc repro ort-quantize@half-static`"),
        ("models/half-ort-static/tokenizer.json", "models/half-ort-static/tokenizer.json not found; run `make repro`"),
        ("reports/manifest.json", "reports/manifest.json not found; run `dvc repro evaluate`"),
        ("data/logits/half.safetensors", "data/logits/half.safetensors not found; run `dvc repro distill@half`"),
        ("data/clinc", "run `dvc repro fetch-clinc`"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run_and_changes_nothing(few: Path, gone: str, message: str) -> None:
    (few / gone).rename(few.parent / "elsewhere")
    before = contents(few)
    with pytest.raises(PipelineError, match=message):
        run(benchmark)
    assert contents(few) == before


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("calls=0", "a whole number, 1 or more"),
        ("queries=0", "a whole number, 1 or more"),
        ("batch_size=0", "a whole number, 1 or more"),
        ("batches=0", "a whole number, 1 or more"),
        ("starts=-1", "a whole number, 0 or more"),
        ("bootstrap_samples=10", "a whole number from 100 to 1000000"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(project: Path, overrides: list[str], setting: str, allowed: str) -> None:
    compose(*overrides, f"benchmark.{setting}")
    with pytest.raises(PipelineError, match=f"`benchmark.{setting.split('=')[0]}` is .*; allowed: {allowed}"):
        run(benchmark)
