"""A review names what changed beyond noise, and nothing else."""

import json
import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import run_tool

from intents.core import paths
from intents.core.errors import PipelineError
from tools import review

PARAMS = "dataset:\n  rows_sha256: abc\ndistill:\n  temperature: 4.0\n"
NAMES = ("teacher", "half", "labels", "teacher-onnx", "half-onnx")
QUERIES = 500
AUTHOR = ["-c", "user.name=t", "-c", "user.email=t@example.com"]


def commit() -> None:
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        subprocess.run(["git", *AUTHOR, *command], check=True)


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's params.yaml and reports, committed: what a branch starts from. Each variant errs now and then."""
    folder = tmp_path / "project"
    (folder / "reports").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("params.yaml").write_text(PARAMS)
    draw = np.random.default_rng(0)
    right = pd.DataFrame({name: (draw.random(QUERIES) < 0.9).astype(int) for name in NAMES})
    right.to_csv(paths.CORRECT, index_label="test_row")
    rows = {
        name: {
            "accuracy_with_rule": float(right[name].mean()),
            "validation": {"expected_accuracy_with_rule": 0.92},
            "answers_sha256": name,
            "size_mb": 60.0,
        }
        for name in NAMES
    }
    report = {"machine": {"cpu": "a CPU"}, "best": "half-onnx", "variants": rows}
    paths.BENCHMARK.write_text(json.dumps(report))
    timings = [("real", name, call, call, 10.0 / place) for place, name in enumerate(NAMES, 1) for call in range(100)]
    set_timings(pd.DataFrame(timings, columns=["measure", "variant", "call", "test_row", "ms"]))
    commit()
    return folder


def edit_benchmark(change: Callable[[dict[str, Any]], None]) -> None:
    report = json.loads(paths.BENCHMARK.read_text())
    change(report)
    paths.BENCHMARK.write_text(json.dumps(report))


def timed_anew(spread: float, slower: str | None = None) -> None:
    """Rewrite the timings as another run would have them: all times up to `spread` longer or shorter."""
    draw = np.random.default_rng(1)
    timings = pd.read_csv(paths.TIMINGS)
    timings["ms"] *= draw.uniform(1 - spread, 1 + spread, len(timings))
    timings.loc[timings["variant"] == slower, "ms"] *= 3
    set_timings(timings)


def set_timings(timings: pd.DataFrame) -> None:
    """Make these the times that the reports tell of."""
    timings.to_csv(paths.TIMINGS, index=False)
    benchmark = json.loads(paths.BENCHMARK.read_text())
    real = timings[timings["measure"] == "real"].groupby("variant")["ms"].median()
    for name, figures in benchmark["variants"].items():
        figures["p50_ms"] = float(real[name])
        figures["speedup_vs_teacher"] = float(real["teacher"] / real[name])
    paths.BENCHMARK.write_text(json.dumps(benchmark))


def answered_wrongly(variant: str, share: float) -> None:
    """As if `variant` had got a further share of the test queries wrong; on validation it answers as before."""
    table = pd.read_csv(paths.CORRECT, index_col="test_row")
    right = np.flatnonzero(table[variant])
    table.iloc[right[: int(share * len(table))], table.columns.get_loc(variant)] = 0
    table.to_csv(paths.CORRECT, index_label="test_row")
    changed = {"accuracy_with_rule": float(table[variant].mean()), "answers_sha256": "another"}
    edit_benchmark(lambda report: report["variants"][variant].update(changed))


def worse_on_validation(variant: str, loss: float) -> None:
    """As if `variant` had lost this much accuracy on validation; on test it answers as before."""
    changed = {"expected_accuracy_with_rule": 0.92 - loss}
    edit_benchmark(lambda report: report["variants"][variant]["validation"].update(changed))


def reviewed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    run_tool(review, monkeypatch, "--base", "HEAD", *arguments)
    return capsys.readouterr().out


def row(text: str, table: str, variant: str) -> str:
    """The line of `variant` in the table whose header begins with `table`."""
    lines = text[text.index(f"| {table}") :].splitlines()
    return next(line for line in lines if line.startswith(f"| {variant} |"))


def test_nothing_changed_but_the_clock(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed_anew(spread=0.03)
    text = reviewed(monkeypatch, capsys)
    assert "Nothing changed beyond noise." in text
    assert "No parameter changed." in text
    assert "the same answers" in row(text, "accuracy", "half")


def test_changed_parameter_and_worse_student_are_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("temperature: 4.0", "temperature: 9.0", 1))
    answered_wrongly("half", share=0.2)
    text = reviewed(monkeypatch, capsys)
    assert "| `distill.temperature` | 4.0 | 9.0 |" in text
    assert "Changed beyond noise: half." in text
    assert "**worse**" in row(text, "accuracy", "half")
    assert "the same answers" in row(text, "accuracy", "teacher")


def test_slower_variant_is_named_beyond_the_tolerance(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed_anew(spread=0.03, slower="half-onnx")
    text = reviewed(monkeypatch, capsys)
    assert "Changed beyond noise: half-onnx." in text
    assert "**worse**" in row(text, "size and latency", "half-onnx")
    assert "within noise" in row(text, "size and latency", "teacher-onnx")


@pytest.mark.parametrize(
    ("ratio", "judged"),
    [(1.16, review.BETTER), (1.14, review.WITHIN_NOISE), (1 / 1.14, review.WITHIN_NOISE), (1 / 1.16, review.WORSE)],
)
def test_faster_and_slower_are_judged_alike(committed: Path, ratio: float, judged: str) -> None:
    """By factors: 1.16 times slower is as far from no change as 1.16 times faster, though it is 0.862, above 0.85."""
    before = review.Reports.at("HEAD")
    timings = pd.read_csv(paths.TIMINGS)
    timings.loc[timings["variant"] == "half-onnx", "ms"] /= ratio
    set_timings(timings)
    table, moved = review.latency(before, review.Reports.at(None), tolerance=0.15)
    assert f"| × {ratio:.2f} [{ratio:.2f}, {ratio:.2f}] | {judged} |" in row(table, "size and latency", "half-onnx")
    assert moved == ({"half-onnx"} if judged != review.WITHIN_NOISE else set())


def test_another_size_is_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_benchmark(lambda report: report["variants"]["labels"].update(size_mb=45.0))
    text = reviewed(monkeypatch, capsys)
    assert "Changed beyond noise: labels." in text
    assert "| labels | 60.0 | 45.0 | -25.0% |" in row(text, "size and latency", "labels")


def test_budget_stops_a_loss_of_accuracy_on_validation(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse_on_validation("half", 0.012)
    worse_on_validation("labels", 0.011)
    text = reviewed(monkeypatch, capsys, "--budget", "0.02")
    assert 'The budget of 2.00 % (`--budget`) is for the column "validation, points".' in text
    assert row(text, "accuracy", "half").split(" | ")[3] == "-1.20"
    assert row(text, "accuracy", "teacher").split(" | ")[3] == "+0.00"
    message = (
        r"half lost 1\.20 points of accuracy with the rule on validation against HEAD; allowed: 1\.00 \(--budget\)"
    )
    with pytest.raises(PipelineError, match=message):
        reviewed(monkeypatch, capsys, "--budget", "0.01")


def test_the_test_set_refuses_nothing(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_wrongly("half", share=0.2)
    text = reviewed(monkeypatch, capsys, "--budget", "0.01")
    assert "**worse**" in row(text, "accuracy", "half")


def test_what_came_and_what_went_is_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rename(report: dict[str, Any]) -> None:
        report["variants"]["half-qat"] = report["variants"].pop("labels")
        report["best"] = None

    assert "New: " not in reviewed(monkeypatch, capsys)
    edit_benchmark(rename)
    text = reviewed(monkeypatch, capsys)
    assert "Best deployable variant: none (before: half-onnx).\nNew: half-qat.\nGone: labels.\n" in text
    assert "| labels |" not in text
    assert "| half-qat |" not in text


def test_another_machine_is_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "machines differ" not in reviewed(monkeypatch, capsys)
    edit_benchmark(lambda report: report["machine"].update(cpu="another CPU"))
    assert "The machines differ: a CPU before, another CPU after.\n" in reviewed(monkeypatch, capsys)


def on_another_data_set() -> None:
    """As if this run's data set were another."""
    text = Path("params.yaml").read_text()
    line = next(line for line in text.splitlines() if "rows_sha256" in line)
    Path("params.yaml").write_text(text.replace(line, "  rows_sha256: other"))


def test_another_data_set_is_not_paired(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(pd.read_csv(paths.CORRECT))
    assert f"Paired bootstrap over the same {count} test queries" in reviewed(monkeypatch, capsys)
    on_another_data_set()
    text = reviewed(monkeypatch, capsys)
    assert "other test queries" in row(text, "accuracy", "half")
    assert "The test queries differ, so accuracies before and after cannot be compared.\n" in text
    assert "No size and no latency changed beyond noise." in text
    assert "Paired bootstrap" not in text


def test_budget_is_not_applied_to_other_test_queries(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse_on_validation("half", 0.2)
    on_another_data_set()
    text = reviewed(monkeypatch, capsys, "--budget", "0.01")
    assert "cannot be compared.\nThe budget of 1.00 % (`--budget`) was not applied.\n" in text


def test_unknown_base_is_one_clear_error(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="at nowhere"):
        run_tool(review, monkeypatch, "--base", "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<<<<<<< HEAD\nrun: {seed: 0}\n", r"params.yaml \(here\) is no YAML that can be read: "),
        ("run: {seed: 0}\n", r"params.yaml \(here\) has no `dataset.rows_sha256`"),
    ],
)
def test_parameters_that_cannot_be_read_are_one_clear_error(
    committed: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    Path("params.yaml").write_text(content)
    with pytest.raises(PipelineError, match=message):
        run_tool(review, monkeypatch, "--base", "HEAD")


def test_interval_of_the_accuracy_is_the_paired_one(committed: Path) -> None:
    """Both answer the same queries, so the change of a share p has a standard error of √(p (1 − p) / n)."""
    before = review.Reports.at("HEAD")
    answered_wrongly("half", share=0.05)
    table, moved = review.accuracy(before, review.Reports.at(None))
    assert moved == {"half"}
    cell = row(table, "accuracy", "half").split(" | ")[4]
    change, low, high = (float(number) for number in re.findall(r"[+-][\d.]+", cell))
    error = 100 * math.sqrt(0.05 * 0.95 / QUERIES)
    assert change == -5.0
    assert (low, high) == pytest.approx((-5 - 1.96 * error, -5 + 1.96 * error), abs=0.2)
    unpaired = 100 * math.sqrt((0.9 * 0.1 + 0.85 * 0.15) / QUERIES)
    assert high - low < 0.75 * 2 * 1.96 * unpaired


def test_of_many_variants_that_changed_by_chance_none_is_named() -> None:
    """Of thirty comparisons in which nothing changed, one or two are beyond noise, each looked at by itself."""
    draw = np.random.default_rng(2)
    names = [f"student_{place}" for place in range(30)]
    tables = [pd.DataFrame({name: draw.random(2000) < 0.9 for name in names}) for _ in range(2)]
    alone = {name for name in names if review.review_intents.differing(*tables, [name])}
    assert alone
    assert review.review_intents.differing(*tables, names) == set()
    tables[1]["student_7"] &= draw.random(2000) < 0.95
    assert review.review_intents.differing(*tables, names) == {"student_7"}
    assert review.review_intents.differing(*tables, []) == set()


def with_intents(number: int = 25) -> None:
    """Say in correct.csv which of `number` intents each query has, 500 / number queries each."""
    table = pd.read_csv(paths.CORRECT, index_col="test_row")
    table.insert(0, "intent", np.repeat([f"intent_{place:02}" for place in range(number)], QUERIES // number))
    table.to_csv(paths.CORRECT, index_label="test_row")


def all_wrong(variant: str, intent: str) -> None:
    """As if `variant` got every query of an intent wrong."""
    table = pd.read_csv(paths.CORRECT, index_col="test_row")
    table.loc[table["intent"] == intent, variant] = 0
    table.to_csv(paths.CORRECT, index_label="test_row")


@pytest.mark.parametrize("earlier", [True, False], ids=["both name intents", "the base is older"])
def test_an_intent_that_got_worse_is_named_and_no_other(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], earlier: bool
) -> None:
    """half-onnx is deployed; it and the teacher are looked at, labels are not."""
    with_intents()
    if earlier:
        commit()
    right = int(pd.read_csv(paths.CORRECT).query("intent == 'intent_07'")["half-onnx"].sum())
    all_wrong("half-onnx", "intent_07")
    all_wrong("labels", "intent_09")
    text = reviewed(monkeypatch, capsys)
    table = text[text.index("| intent |") :].split("\n\n")[0].splitlines()
    assert len(table) == 3
    assert table[2].startswith(f"| `intent_07` | half-onnx | {right} of 20 | 0 of 20 | 0 | {right} | ")
    assert table[2].endswith(" | **worse** |")
    p = float(table[2].split(" | ")[6])
    assert p == pytest.approx(50 * 2 * 0.5**right, rel=0.05)  # the smallest of 50 comparisons
    assert "Of teacher and half-onnx, 50 comparisons:" in text


def test_intents_that_moved_by_chance_are_not_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another training run: a tenth of the answers change, in any intent."""
    with_intents(100)
    table = pd.read_csv(paths.CORRECT, index_col="test_row")
    draw = np.random.default_rng(5)
    for name in ("teacher", "half-onnx"):
        table[name] = np.where(draw.random(QUERIES) < 0.2, draw.random(QUERIES) < 0.5, table[name]).astype(int)
    table.to_csv(paths.CORRECT, index_label="test_row")
    assert "No intent moved beyond noise.\nOf teacher and half-onnx, 200 comparisons" in reviewed(monkeypatch, capsys)


def test_without_intents_or_with_other_queries_nothing_is_said_of_them(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "intent moved" not in reviewed(monkeypatch, capsys)
    with_intents()
    assert "intent moved" in reviewed(monkeypatch, capsys)
    on_another_data_set()
    assert "intent moved" not in reviewed(monkeypatch, capsys)


def test_it_reads_what_the_stages_write(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit()
    text = reviewed(monkeypatch, capsys, "--budget", "0.0")
    variants = json.loads(paths.BENCHMARK.read_text())["variants"]
    assert all(f"| {name} |" in text for name in variants)
    assert all("the same answers" in row(text, "accuracy", name) for name in variants)
