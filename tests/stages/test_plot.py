"""plot: every picture and a report that names every variant, from the reports alone."""

import json
import struct
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import compose, contents, run
from made import LABELS, logits_of, read, texts

from intents.core.errors import PipelineError
from intents.reports import accuracy, tradeoff
from stages import plot

PICTURES = {
    *("tradeoff", "sizes", "weights", "sparsity", "structure", "scores", "domains"),
    *("sensitivity-dynamic", "sensitivity-static", "reliability", "coverage"),
}
OF_MISTAKES = {"intents", "confusions"}  # there only where the variant that is shown makes some


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trade-off's picture is empty, for tests that look at something else: its labels take seconds to place."""
    monkeypatch.setattr(tradeoff, "tradeoff", lambda *_: plt.figure())


def size(picture: Path) -> tuple[int, int]:
    """Width and height in pixels, as the PNG's header says."""
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:24])


def drawn() -> set[str]:
    """The pictures that the reports of the current folder call for."""
    benchmark = read("reports/benchmark.json")
    shown = benchmark["best"] or benchmark["deployed"]
    found = answered(shown, "validation", benchmark["variants"][shown]["threshold"])
    return PICTURES | (OF_MISTAKES if (found != LABELS).any() else set())


def answered(name: str, split: str, threshold: float) -> np.ndarray:
    """The labels that the rule gives."""
    return np.where(scores(name, split) < threshold, 3, logits_of(name)[split].argmax(axis=1))


def scores(name: str, split: str) -> np.ndarray:
    return np.log(np.exp(logits_of(name)[split][:, :3].astype(float)).sum(axis=1))


def test_every_picture_is_a_png_and_stands_in_the_report(reading: Path) -> None:
    assert set(contents(reading / "reports/figures")) == {f"{name}.png" for name in drawn()}
    report = Path("reports/report.md").read_text()
    for name in drawn():
        width, height = size(Path(f"reports/figures/{name}.png"))
        assert min(width, height) > 100
        assert f"(figures/{name}.png)" in report


@pytest.mark.usefixtures("reading")
def test_the_report_names_every_variant_with_its_figures_and_the_best_one() -> None:
    benchmark = read("reports/benchmark.json")
    lines = Path("reports/report.md").read_text().splitlines()
    in_onnx = benchmark["variants"]["teacher-onnx"]["p50_ms"]
    for name, figures in benchmark["variants"].items():
        mark = " ◆" if figures["pareto"] else ""
        main, *_ = [line for line in lines if line.replace("**", "").startswith(f"| {name}{mark} |")]
        assert f"{100 * figures['accuracy']:.2f} %" in main
        assert f"| {figures['size_mb']:.1f} |" in main
        assert f"| {figures['p50_ms']:.2f} |" in main
        assert main.endswith(f"| {figures['speedup_vs_teacher']:.1f} × | {in_onnx / figures['p50_ms']:.1f} × |")
    assert any(f"**{benchmark['best']}**" in line for line in lines) == (benchmark["best"] is not None)


@pytest.mark.usefixtures("reading")
def test_the_report_sets_the_control_against_the_student_that_it_is_a_control_of() -> None:
    rows = read("reports/benchmark.json")["variants"]
    accuracies = [f"{100 * rows[name]['accuracy_with_rule']:.2f} %" for name in ("labels", "half")]
    assert f"\n| labels | {accuracies[0]} | half | {accuracies[1]} |" in Path("reports/report.md").read_text()


@pytest.mark.parametrize("best", ["half-ort-static", "teacher-onnx", "teacher"])
@pytest.mark.usefixtures("built", "quick")
def test_wrong_answers_and_intents_are_those_of_the_teacher_and_of_the_variant_looked_at(best: str) -> None:
    """With thresholds so high that there are wrong answers."""
    rows = read("reports/benchmark.json")["variants"]
    for name in ("teacher", best):
        rows[name]["threshold"] = float(np.median(scores(name, "validation")[LABELS != 3]))
    edit("reports/benchmark.json", best=best, deployed=best, variants=rows)
    run(plot)
    wrong, intents = pd.read_csv("data/wrong_answers.csv"), pd.read_csv("reports/intents.csv")
    names = list(dict.fromkeys(["teacher", best]))
    assert list(intents["variant"].unique()) == names
    assert len(intents) == len(names) * 2 * 4
    for name in names:
        for split in ("validation", "test"):
            found = answered(name, split, rows[name]["threshold"])
            table = intents[(intents["variant"] == name) & (intents["split"] == split)].set_index("intent")
            for label, intent in enumerate(("alarm", "music", "weather", "oos")):
                assert table.loc[intent, "support"] == 10
                assert table.loc[intent, "recall"] == pytest.approx((found[label == LABELS] == label).mean())
        given = answered(name, "validation", rows[name]["threshold"])
        listed = wrong[wrong["variant"] == name].set_index("row").sort_index()
        assert listed.index.tolist() == np.flatnonzero(given != LABELS).tolist() != []
        assert listed["text"].tolist() == [texts("validation")[row] for row in listed.index]
        assert listed["given"].tolist() == [
            ("alarm", "music", "weather", "oos")[label] for label in given[listed.index]
        ]


def test_the_same_reports_give_the_same_bytes(built: Path) -> None:
    before = contents(built)
    run(plot)
    assert contents(built) == before


def test_another_dpi_changes_the_pictures_and_nothing_else(built: Path, overrides: list[str]) -> None:
    before, width = contents(built), size(built / "reports/figures/sizes.png")[0]
    compose(*overrides, "plot.dpi=100")
    run(plot)
    after = contents(built)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == {"params.yaml", *(f"reports/figures/{name}.png" for name in drawn())}
    assert size(built / "reports/figures/sizes.png")[0] == 2 * width


@pytest.mark.usefixtures("built", "quick")
def test_a_picture_that_is_no_longer_drawn_does_not_stay() -> None:
    Path("reports/figures/old.png").touch()
    run(plot)
    assert not Path("reports/figures/old.png").exists()


def edit(path: str, **values: object) -> None:
    Path(path).write_text(json.dumps(read(path) | values))


@pytest.mark.usefixtures("built", "quick")
def test_without_a_deployable_variant_in_the_budget_the_report_says_which_one_is_deployed() -> None:
    edit("reports/benchmark.json", best=None, deployed="half-ort-dynamic")
    run(plot)
    report = Path("reports/report.md").read_text()
    assert " of the teacher on validation.\nDeployed instead is the most accurate" in report
    assert "of the deployable variants, half-ort-dynamic: " in report
    assert "| **" not in report


@pytest.mark.parametrize(
    ("best", "compared"),
    [
        ("half-ort-static", ["teacher", "half", "half-ort-static"]),
        ("teacher-onnx", ["teacher", "teacher-onnx"]),
        (None, ["teacher", "half-structured", "half-structured-ort-dynamic"]),
    ],
)
@pytest.mark.usefixtures("built", "quick")
def test_the_variant_looked_at_stands_beside_the_teacher_and_its_own_model(
    monkeypatch: pytest.MonkeyPatch, best: str | None, compared: list[str]
) -> None:
    edit("reports/benchmark.json", best=best, deployed=best or "half-structured-ort-dynamic")
    draw, drawn = accuracy.accuracy_by_domain, []
    monkeypatch.setattr(accuracy, "accuracy_by_domain", lambda table: (drawn.append(table), draw(table))[1])
    run(plot)
    (table,) = drawn
    rows = read("reports/benchmark.json")["variants"]
    assert list(table.columns) == compared
    assert sorted(table.index) == ["daily", "out of scope"]
    for name in compared:  # of the queries three quarters are in scope
        share = 0.75 * table.loc["daily", name] + 0.25 * table.loc["out of scope", name]
        assert share == pytest.approx(rows[name]["accuracy_with_rule"], abs=1e-6)


@pytest.mark.parametrize(
    ("gone", "made_by"),
    [
        ("reports/benchmark.json", "dvc repro select"),
        ("reports/data.json", "dvc repro fetch-clinc"),
        ("reports/pruning/half-movement-schedule.csv", "dvc repro prune@movement"),
        ("reports/pruning/half-movement-layers.json", "dvc repro prune@movement"),
        ("reports/pruning/half-structured-layers.json", "dvc repro prune@structured"),
        ("reports/sensitivity/static.csv", "dvc repro sensitivity@static"),
        ("reports/sensitivity/dynamic.json", "dvc repro sensitivity@dynamic"),
        ("models/half-torch-dynamic/int8.safetensors", "dvc repro quantize@half-dynamic"),
        ("models/half/model.safetensors", "dvc repro distill@half"),
        ("data/logits/teacher.safetensors", "dvc repro finetune-teacher@teacher"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_without_what_it_needs_it_says_what_to_run_and_changes_nothing(built: Path, gone: str, made_by: str) -> None:
    (built / gone).unlink()
    before = contents(built)
    with pytest.raises(PipelineError, match=f"{gone} not found; run `{made_by}`"):
        run(plot)
    assert contents(built) == before


@pytest.mark.parametrize("dpi", [49, 601])
def test_a_dpi_out_of_range_is_refused(project: Path, overrides: list[str], dpi: int) -> None:
    compose(*overrides, f"plot.dpi={dpi}")
    before = contents(project)
    with pytest.raises(PipelineError, match=f"`plot.dpi` is {dpi}; allowed: a whole number from 50 to 600"):
        run(plot)
    assert contents(project) == before
