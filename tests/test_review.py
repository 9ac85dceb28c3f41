"""A review names what changed beyond noise, and nothing else."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run

from stages import review
from stages.library import statistics
from stages.library.errors import PipelineError


@pytest.fixture
def committed(built: Path) -> Path:
    """The tiny project, committed: what a branch starts from.

    Its few test queries stand for many. Its times are made up: how much measured ones scatter depends on what else
    the machine does.
    """
    table = pd.read_csv(review.CORRECT, index_col="test_row")
    pd.concat([table] * 20, ignore_index=True).to_csv(review.CORRECT, index_label="test_row")
    variants = json.loads(review.BENCHMARK.read_text())["variants"]
    rows = [("real", name, call, call, 10.0 / place) for place, name in enumerate(variants, 1) for call in range(100)]
    set_timings(pd.DataFrame(rows, columns=["measure", "variant", "call", "test_row", "ms"]))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        author = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *author, *command], check=True)
    return built


def timed_anew(spread: float, slower: str | None = None) -> None:
    """Rewrite the timings as another run would have them: all times up to `spread` longer or shorter."""
    draw = np.random.default_rng(1)
    timings = pd.read_csv(review.TIMINGS)
    timings["ms"] *= draw.uniform(1 - spread, 1 + spread, len(timings))
    timings.loc[timings["variant"] == slower, "ms"] *= 3
    set_timings(timings)


def set_timings(timings: pd.DataFrame) -> None:
    """Make these the times that the reports tell of."""
    timings.to_csv(review.TIMINGS, index=False)
    benchmark = json.loads(review.BENCHMARK.read_text())
    real = timings[timings["measure"] == "real"].groupby("variant")["ms"].median()
    for name, figures in benchmark["variants"].items():
        figures["p50_ms"] = float(real[name])
        figures["speedup_vs_teacher"] = float(real["teacher"] / real[name])
    review.BENCHMARK.write_text(json.dumps(benchmark))


def answered_wrongly(variant: str, share: float) -> None:
    """As if `variant` had got a further share of the test queries wrong."""
    table = pd.read_csv(review.CORRECT, index_col="test_row")
    right = np.flatnonzero(table[variant])
    table.iloc[right[: int(share * len(table))], table.columns.get_loc(variant)] = 0
    table.to_csv(review.CORRECT, index_label="test_row")
    benchmark = json.loads(review.BENCHMARK.read_text())
    figures = benchmark["variants"][variant]
    figures |= {"accuracy_with_rule": float(table[variant].mean()), "answers_sha256": "another"}
    review.BENCHMARK.write_text(json.dumps(benchmark))


def reviewed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    run(review, monkeypatch, "--base", "HEAD", *arguments)
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
    assert "the same answers" in row(text, "accuracy", "student")


def test_changed_parameter_and_worse_student_are_named(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("temperature: 4.0", "temperature: 9.0", 1))
    answered_wrongly("student", share=0.2)
    text = reviewed(monkeypatch, capsys)
    assert "| `distill.temperature` | 4.0 | 9.0 |" in text
    assert "Changed beyond noise: student." in text
    assert "**worse**" in row(text, "accuracy", "student")
    assert "the same answers" in row(text, "accuracy", "teacher")


def test_slower_variant_is_named_beyond_the_tolerance(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed_anew(spread=0.03, slower="student-onnx")
    text = reviewed(monkeypatch, capsys)
    assert "Changed beyond noise: student-onnx." in text
    assert "**worse**" in row(text, "size and latency", "student-onnx")
    assert "within noise" in row(text, "size and latency", "teacher-onnx")


def test_budget_stops_a_loss_of_accuracy(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_wrongly("student", share=0.2)
    reviewed(monkeypatch, capsys, "--budget", "0.5")
    with pytest.raises(PipelineError, match=r"student lost .* points"):
        reviewed(monkeypatch, capsys, "--budget", "0.1")


def on_another_data_set() -> None:
    """As if this run's data set were another."""
    text = Path("params.yaml").read_text()
    line = next(line for line in text.splitlines() if "rows_sha256" in line)
    Path("params.yaml").write_text(text.replace(line, "  rows_sha256: other"))


def test_another_data_set_is_not_paired(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(pd.read_csv(review.CORRECT))
    assert f"Paired bootstrap over the same {count} test queries" in reviewed(monkeypatch, capsys)
    on_another_data_set()
    text = reviewed(monkeypatch, capsys)
    assert "other test queries" in row(text, "accuracy", "student")
    assert "The test queries differ, so accuracies before and after cannot be compared.\n" in text
    assert "No size and no latency changed beyond noise." in text
    assert "Paired bootstrap" not in text


def test_budget_is_not_applied_to_other_test_queries(
    committed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_wrongly("student", share=0.2)
    on_another_data_set()
    text = reviewed(monkeypatch, capsys, "--budget", "0.01")
    assert "cannot be compared. The budget of 1.00 points (--budget) was not applied.\n" in text


def test_unknown_base_is_one_clear_error(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="at nowhere"):
        run(review, monkeypatch, "--base", "nowhere")


def test_interval_of_the_accuracy_is_the_paired_one(committed: Path) -> None:
    before = review.Reports.at("HEAD")
    answered_wrongly("student", share=0.05)
    after = review.Reports.at(None)
    table, moved = review.accuracy(before, after)
    ours, theirs = (reports.correct["student"].to_numpy(dtype=bool) for reports in (after, before))
    change, (low, high) = statistics.paired_difference(ours, theirs, review.SAMPLES, review.SEED)
    assert moved == {"student"}
    assert f"{100 * change:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]" in table
