"""plot: every picture and a report that names every variant, from the reports alone."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from conftest import compose, contents, run

from intents.core.errors import PipelineError
from stages import plot

PICTURES = {
    *("tradeoff", "sizes", "weights", "sparsity", "structure", "scores", "domains"),
    *("sensitivity-dynamic", "sensitivity-static"),
}


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    """A run that fails half-way leaves figures in the process, which ends with it but for these tests."""
    yield
    plt.close("all")


def size(picture: Path) -> tuple[int, int]:
    """Width and height in pixels, as the PNG's header says."""
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:24])


def test_every_picture_is_a_png_and_stands_in_the_report(built: Path) -> None:
    assert set(contents(built / "reports/figures")) == {f"{name}.png" for name in PICTURES}
    report = (built / "reports/report.md").read_text()
    for name in PICTURES:
        width, height = size(built / f"reports/figures/{name}.png")
        assert min(width, height) > 100
        assert f"(figures/{name}.png)" in report


def test_the_report_names_every_variant_with_its_figures_and_the_best_one(built: Path) -> None:
    benchmark = json.loads((built / "reports/benchmark.json").read_text())
    lines = (built / "reports/report.md").read_text().splitlines()
    for name, figures in benchmark["variants"].items():
        mark = " ◆" if figures["pareto"] else ""
        main, *_ = [line for line in lines if line.replace("**", "").startswith(f"| {name}{mark} |")]
        assert f"{100 * figures['accuracy']:.2f} %" in main
        assert f"| {figures['size_mb']:.1f} |" in main
        assert f"| {figures['p50_ms']:.2f} |" in main
    assert any(f"**{benchmark['best']}**" in line for line in lines) == (benchmark["best"] is not None)


def test_tradeoff_has_a_row_per_variant(built: Path) -> None:
    variants = json.loads((built / "reports/benchmark.json").read_text())["variants"]
    header, *rows = (built / "reports/tradeoff.csv").read_text().splitlines()
    assert header.split(",")[0] == "variant"
    assert {"accuracy_with_rule", "p50_ms", "size_mb"} < set(header.split(","))
    for row in rows:
        cells = dict(zip(header.split(","), row.split(","), strict=True))
        figures = variants[cells.pop("variant")]
        assert cells.pop("pareto") == str(figures["pareto"])
        assert {key: float(value) for key, value in cells.items()} == pytest.approx({k: figures[k] for k in cells})
    assert len(rows) == len(variants)


def test_the_same_reports_give_the_same_bytes(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(built)
    run(plot)
    assert contents(built) == before


def test_another_dpi_changes_the_pictures_and_nothing_else(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, width = contents(built), size(built / "reports/figures/sizes.png")[0]
    compose(*overrides, "plot.dpi=100")
    run(plot)
    after = contents(built)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == {"params.yaml", *(f"reports/figures/{name}.png" for name in PICTURES)}
    assert size(built / "reports/figures/sizes.png")[0] == 2 * width


def test_without_a_deployable_variant_in_the_budget_the_report_says_so(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = built / "reports/benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best": None}))
    run(plot)
    report = (built / "reports/report.md").read_text()
    assert "No deployable variant is within 1 point of the teacher on validation." in report
    assert "| **" not in report


@pytest.mark.parametrize(
    ("gone", "made_by"),
    [
        ("reports/benchmark.json", "dvc repro benchmark"),
        ("reports/data.json", "dvc repro fetch-clinc"),
        ("reports/prune/movement-schedule.csv", "dvc repro prune"),
        ("reports/prune/movement-layers.json", "dvc repro prune"),
        ("reports/prune/structured-layers.json", "dvc repro prune"),
        ("reports/sensitivity/static.csv", "dvc repro sensitivity"),
        ("data/quantized/dynamic/int8.safetensors", "dvc repro quantize"),
        ("data/student/model.safetensors", "dvc repro"),
        ("data/logits/teacher.safetensors", "dvc repro"),
    ],
)
def test_without_what_it_needs_it_says_what_to_run_and_changes_nothing(
    built: Path, monkeypatch: pytest.MonkeyPatch, gone: str, made_by: str
) -> None:
    (built / gone).unlink()
    before = contents(built)
    with pytest.raises(PipelineError, match=f"{gone} not found; run `{made_by}`"):
        run(plot)
    assert contents(built) == before


@pytest.mark.parametrize("dpi", [49, 601])
def test_a_dpi_out_of_range_is_refused(
    built: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch, dpi: int
) -> None:
    compose(*overrides, f"plot.dpi={dpi}")
    before = contents(built)
    with pytest.raises(PipelineError, match=f"`plot.dpi` is {dpi}; allowed: a whole number from 50 to 600"):
        run(plot)
    assert contents(built) == before
