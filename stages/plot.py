"""plot: the figures and the report that a person reads.

In:  reports/ (benchmark, prune, sensitivity, data), the student's weights before and after quantization, logits,
     data/clinc/.
Out: reports/figures/*.png, reports/report.md, and reports/tradeoff.csv, which `dvc plots` draws by itself.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from safetensors import safe_open

from stages.library import (
    artifacts,
    figures,
    figures_sensitivity,
    logits,
    out_of_scope,
    report,
    sensitivity,
    settings,
    splits,
    tensors,
)
from stages.library.errors import run_program

CLINC = Path("data/clinc")
REPORTS = Path("reports")
SENSITIVITY, PRUNE = REPORTS / "sensitivity", REPORTS / "prune"
FIGURES = REPORTS / "figures"
DATA = Path("data")
COLUMNS = [
    *("accuracy", "accuracy_with_rule", "size_mb", "p50_ms"),
    *("speedup_vs_teacher", "size_ratio_vs_teacher", "pareto"),
]


def largest_matrix(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, int8 weight and scales of the first of the largest linear layers in a file of int8 tensors."""
    with safe_open(path, framework="np") as file:
        names = list(file.keys())
        layers = [name.removesuffix(".weight_int8") for name in names if name.endswith(".weight_int8")]
        layers = [name for name in layers if f"{name}.bias" in names]  # embeddings have none
        sizes = {name: np.prod(file.get_slice(f"{name}.weight_int8").get_shape()) for name in sorted(layers)}
        name = max(sizes, key=lambda layer: sizes[layer])
        return name, file.get_tensor(f"{name}.weight_int8"), file.get_tensor(f"{name}.scales")


def weights_figure(quantized_model: Path, parent: Path) -> figures.Figure:
    path = artifacts.require(quantized_model / tensors.INT8, "dvc repro quantize")
    name, quantized, scales = largest_matrix(path)
    with safe_open(artifacts.require(parent / "model.safetensors", "dvc repro"), framework="np") as file:
        return figures.weight_histogram(name, file.get_tensor(f"{name}.weight"), quantized, scales)


def pruning_figures(variants: report.Rows) -> dict[str, figures.Figure]:
    """A picture of what single weights went to zero, one of the heads and neurons that are left: as was pruned."""
    methods = [name.removeprefix("pruned-") for name, row in variants.items() if "encoder_sparsity" in row]
    layers = {name: artifacts.read_json(PRUNE / f"{name}-layers.json", "dvc repro prune") for name in methods}
    # Of a method that masks, a layer's entry is its share of zeros; of one that cuts out, what it kept.
    masked = {name: found for name, found in layers.items() if not any(isinstance(row, dict) for row in found.values())}
    cut = [name for name in methods if name not in masked]
    pictures = {}
    if masked:
        paths = {name: artifacts.require(PRUNE / f"{name}-schedule.csv", "dvc repro prune") for name in masked}
        schedules = {name: pd.read_csv(path) for name, path in paths.items()}
        pictures["sparsity"] = figures.sparsity_schedules(schedules, masked)
    if cut:
        pictures["structure"] = figures.heads_and_neurons(layers[cut[0]])
    return pictures


def main() -> None:
    plot = settings.load(figures.Plot, "plot")
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
    if int8_in_torch := [row for name, row in variants.items() if "-torch-" in name]:
        row = int8_in_torch[0]
        pictures["weights"] = weights_figure(Path(row["folder"]), DATA / row["parity"]["parent"])
    pictures |= pruning_figures(variants)
    methods = sorted({name.rpartition("-ort-")[2] for name in variants if "-ort-" in name})
    costs = {method: artifacts.require(SENSITIVITY / f"{method}.csv", "dvc repro sensitivity") for method in methods}
    verdicts = {}
    for method, path in costs.items():
        nodes = pd.read_csv(path, index_col="node")
        verdict = artifacts.read_json(path.with_suffix(".json"), "dvc repro sensitivity")
        verdicts[method] = sensitivity.markdown(verdict, nodes)
        pictures[f"sensitivity-{method}"] = figures_sensitivity.sensitivity(
            nodes, verdict["queries"], f"One node in int8, {method}"
        )
    for name, figure in pictures.items():
        figures.save(figure, FIGURES / f"{name}.png", plot.dpi)
    with artifacts.new_file(REPORTS / "tradeoff.csv") as scratch:
        table.round(6).to_csv(scratch, index_label="variant", lineterminator="\n")
    artifacts.write_text(REPORTS / "report.md", report.write(benchmark, description, verdicts, set(pictures)))


if __name__ == "__main__":
    run_program(main)
