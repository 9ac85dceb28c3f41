"""plot: the figures and the report that a person reads.

In:  reports/ (benchmark, prune, sensitivity, data), the student's weights before and after quantization, logits,
     data/clinc/.
Out: reports/figures/*.png, reports/report.md, and reports/tradeoff.csv, which `dvc plots` draws by itself.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from safetensors import safe_open

from stages.library import artifacts, figures, figures_sensitivity, logits, out_of_scope, report, settings, splits
from stages.library.errors import run_program
from stages.library.settings import between

CLINC = Path("data/clinc")
REPORTS = Path("reports")
SENSITIVITY = REPORTS / "sensitivity"
STRUCTURED = "structured"
FIGURES = REPORTS / "figures"
STUDENT = Path("data/student/model.safetensors")
COLUMNS = [
    *("accuracy", "accuracy_with_rule", "size_mb", "p50_ms"),
    *("speedup_vs_teacher", "size_ratio_vs_teacher", "pareto"),
]


@dataclass(frozen=True, kw_only=True)
class Plot:
    dpi: int = between(50, 600)


def largest_matrix(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, int8 weight and scales of the first of the largest linear layers in a file of int8 tensors."""
    with safe_open(path, framework="np") as file:
        names = list(file.keys())
        layers = [name.removesuffix(".weight_int8") for name in names if name.endswith(".weight_int8")]
        layers = [name for name in layers if f"{name}.bias" in names]  # embeddings have none
        sizes = {name: np.prod(file.get_slice(f"{name}.weight_int8").get_shape()) for name in sorted(layers)}
        name = max(sizes, key=lambda layer: sizes[layer])
        return name, file.get_tensor(f"{name}.weight_int8"), file.get_tensor(f"{name}.scales")


def weights_figure(quantized_model: Path) -> figures.Figure:
    path = artifacts.require(quantized_model / "int8.safetensors", "dvc repro quantize")
    name, quantized, scales = largest_matrix(path)
    with safe_open(artifacts.require(STUDENT, "dvc repro distill"), framework="np") as file:
        return figures.weight_histogram(name, file.get_tensor(f"{name}.weight"), quantized, scales)


def sparsity_figure(methods: list[str]) -> figures.Figure:
    folder = REPORTS / "prune"
    return figures.sparsity_schedules(
        {name: pd.read_csv(artifacts.require(folder / f"{name}-schedule.csv", "dvc repro prune")) for name in methods},
        {name: artifacts.read_json(folder / f"{name}-layers.json", "dvc repro prune") for name in methods},
    )


def structured_figure() -> figures.Figure:
    path = artifacts.require(REPORTS / "prune/structured-layers.json", "dvc repro prune")
    return figures.heads_and_neurons(artifacts.read_json(path, "dvc repro prune"))


def main() -> None:
    plot = settings.load(Plot, "plot")
    benchmark: dict[str, Any] = artifacts.read_json(REPORTS / "benchmark.json", "dvc repro benchmark")
    variants, best = benchmark["variants"], benchmark["best"]
    description = artifacts.read_json(REPORTS / "data.json", "dvc repro fetch-clinc")
    table = pd.DataFrame.from_dict(
        {name: {key: row[key] for key in COLUMNS} for name, row in variants.items()}, "index"
    )

    intents = splits.load_intents(CLINC)
    rows = splits.load(CLINC, "test")
    labels = splits.labels(rows, intents)
    shown = best or "student"
    compared = list(dict.fromkeys(["teacher", "student", shown]))
    test_logits = {name: logits.load(name, "dvc repro")["test"] for name in compared}
    answers = {name: out_of_scope.decide(test_logits[name], variants[name]["threshold"]) for name in compared}
    domains = [intents.domains.get(row.intent, "out of scope") for row in rows]

    style.use(figures.STYLE)
    pictures = {
        "tradeoff": figures.tradeoff(table, best),
        "sizes": figures.sizes(table, report.compressed_sizes(variants)),
        "scores": figures.score_distribution(
            out_of_scope.scores(test_logits[shown]), labels == intents.out_of_scope, variants[shown]["threshold"], shown
        ),
        "domains": figures.accuracy_by_domain(figures.domain_accuracy(answers, labels, domains)),
    }
    if int8_in_torch := [row["folder"] for name, row in variants.items() if "-torch-" in name]:
        pictures["weights"] = weights_figure(Path(int8_in_torch[0]))
    pruned = [name.removeprefix("pruned-") for name, row in variants.items() if "encoder_sparsity" in row]
    if masked := [method for method in pruned if method != STRUCTURED]:
        pictures["sparsity"] = sparsity_figure(masked)
    if STRUCTURED in pruned:
        pictures["structure"] = structured_figure()
    methods = sorted({name.rpartition("-ort-")[2] for name in variants if "-ort-" in name})
    costs = {method: artifacts.require(SENSITIVITY / f"{method}.csv", "dvc repro sensitivity") for method in methods}
    for method, path in costs.items():
        picture = figures_sensitivity.sensitivity(pd.read_csv(path, index_col="node"), f"One node in int8, {method}")
        pictures[f"sensitivity-{method}"] = picture
    verdicts = {method: path.with_suffix(".md").read_text(encoding="utf-8") for method, path in costs.items()}
    for name, figure in pictures.items():
        figures.save(figure, FIGURES / f"{name}.png", plot.dpi)
    with artifacts.new_file(REPORTS / "tradeoff.csv") as scratch:
        table.round(6).to_csv(scratch, index_label="variant", lineterminator="\n")
    artifacts.write_text(REPORTS / "report.md", report.write(benchmark, description, verdicts, set(pictures)))


if __name__ == "__main__":
    run_program(main)
