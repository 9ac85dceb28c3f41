"""plot: the pictures and the report that a person reads.

In:  reports/ (benchmark.json, data.json, pruning/, sensitivity/), the logits of a few variants, the weights of a
     student before and after quantization, data/clinc/.
Out: reports/figures/*.png and reports/report.md; of the teacher and of the variant that the report looks at,
     reports/intents.csv (precision, recall and F1 of each intent, and what it is taken for) and data/wrong_answers.csv
     (the validation queries that are answered wrongly).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure
from safetensors import safe_open

from intents.core import files, paths, reading, settings, variants
from intents.core.errors import program
from intents.core.settings import between
from intents.core.variants import TEACHER, Form, Variant
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.evaluation.answers import Answers
from intents.evaluation.quality import accuracy_by_group
from intents.evaluation.threshold import OutOfScope
from intents.reports import accuracy, compression, mistakes, results, sensitivity, tables, tradeoff
from intents.reports.style import STYLE, save
from intents.serving.rule import decide, scores


@dataclass(frozen=True, kw_only=True)
class Plot:
    dpi: int = between(50, 600)


def weights_figure(variant: Variant) -> Figure:
    """The first of the largest linear layers of a variant in PyTorch int8, before quantization and after it."""
    assert variant.parent is not None
    with safe_open(files.require(variant.weights, variant.made_by), framework="np") as file:
        names = set(file.keys())
        layers = sorted(name.removesuffix(".weight_int8") for name in names if name.endswith(".weight_int8"))
        sizes = {
            layer: np.prod(file.get_slice(f"{layer}.weight_int8").get_shape())
            for layer in layers
            if f"{layer}.bias" in names  # embeddings have none
        }
        name = max(sizes, key=lambda layer: sizes[layer])
        quantized, scales = file.get_tensor(f"{name}.weight_int8"), file.get_tensor(f"{name}.scales")
    with safe_open(files.require(variant.parent.weights, variant.parent.made_by), framework="np") as file:
        return compression.weight_histogram(name, file.get_tensor(f"{name}.weight"), quantized, scales)


def pruning_figures(rows: tables.Rows) -> dict[str, Figure]:
    """A picture of what unstructured pruning set to zero, and one of what structured pruning kept."""
    made_by = {name: variants.parse(name).made_by for name, row in rows.items() if "encoder_sparsity" in row}
    layers = {name: reading.load(paths.PRUNING / f"{name}-layers.json", by) for name, by in made_by.items()}
    # Of a method that masks, a layer's entry is its share of zeros; of one that cuts out, what it kept.
    cut = [name for name, found in layers.items() if any(isinstance(row, dict) for row in found.values())]
    masked = {name: found for name, found in layers.items() if name not in cut}
    pictures = {}
    if masked:
        written = {name: files.require(paths.PRUNING / f"{name}-schedule.csv", made_by[name]) for name in masked}
        schedules = {name: pd.read_csv(path) for name, path in written.items()}
        pictures["sparsity"] = compression.sparsity_schedules(schedules, masked)
    if cut:
        pictures["structure"] = compression.heads_and_neurons(layers[cut[0]])
    return pictures


def accuracy_figures(benchmark: dict[str, Any], data: Corpus) -> dict[str, Figure]:
    """The scores of the variant that the report looks at, and its accuracy by domain beside its teacher's."""
    rows, shown = benchmark["variants"], results.shown(benchmark)
    labels = data.labels("test")
    compared = list(dict.fromkeys([TEACHER, variants.parse(shown).model, shown]))
    answered = {name: logits.load(name)["test"] for name in compared}
    decided = {name: decide(answered[name], rows[name]["threshold"]) for name in compared}
    domains = [data.intents.domains.get(row.intent, "out of scope") for row in data.rows("test")]
    outside = labels == data.intents.out_of_scope
    return {
        "scores": accuracy.score_distribution(scores(answered[shown]), outside, rows[shown]["threshold"], shown),
        "domains": accuracy.accuracy_by_domain(accuracy_by_group(decided, labels, domains)),
    }


def answers_of(benchmark: Mapping[str, Any], data: Corpus) -> dict[str, Answers]:
    """The answers of the teacher and of the variant that the report looks at, in this order."""
    labels = {split: data.labels(split) for split in corpus.JUDGED}
    found = {}
    for name in dict.fromkeys([TEACHER, results.shown(benchmark)]):
        row = benchmark["variants"][name]
        given = logits.load(name)
        found[name] = Answers(name, given, labels, data.intents.names, row["threshold"], row["temperature"])
    return found


def sensitivity_results(rows: tables.Rows) -> dict[str, tuple[Mapping[str, Any], pd.DataFrame]]:
    """Per method of int8 in ONNX Runtime, what the stage sensitivity found: the verdict, and a row per node."""
    methods = {variant.method for variant in map(variants.parse, rows) if variant.form is Form.ORT}
    found: dict[str, tuple[Mapping[str, Any], pd.DataFrame]] = {}
    for method in sorted(filter(None, methods)):
        made_by = f"dvc repro sensitivity@{method}"
        verdict = reading.load(paths.SENSITIVITY / f"{method}.json", made_by)
        nodes = pd.read_csv(files.require(paths.SENSITIVITY / f"{method}.csv", made_by), index_col="node")
        found[method] = (verdict, nodes)
    return found


def write_mistakes(answers: dict[str, Answers], texts: list[str]) -> None:
    """Write what each intent is taken for, and every validation query (of `texts`) that is answered wrongly."""
    keys = [(name, split) for name in answers for split in corpus.JUDGED]
    tables = {key: answers[key[0]].per_intent(key[1]) for key in keys}
    wrong = {name: one.wrong("validation", texts) for name, one in answers.items()}
    with files.new_file(paths.INTENTS) as scratch:
        pd.concat(tables, names=["variant", "split"]).round(6).to_csv(scratch, lineterminator="\n")
    with files.new_file(paths.WRONG) as scratch:
        joined = pd.concat(wrong, names=["variant"]).droplevel(1)
        joined.round(6).to_csv(scratch, lineterminator="\n", encoding="utf-8")


def main() -> None:
    plot = settings.load(Plot, "plot")
    rate = settings.load(OutOfScope, "out_of_scope").rate
    benchmark = reading.benchmark(paths.BENCHMARK)
    description = reading.load(paths.DATA_REPORT, "dvc repro fetch-clinc")
    for needed in ("train", "validation", "test", "overlaps"):
        if not isinstance(description[needed], dict):
            raise reading.lacking(paths.DATA_REPORT, description.made_by, f"has no object `{needed}`")
    rows, shown = benchmark["variants"], results.shown(benchmark)
    data = Corpus()
    answers = answers_of(benchmark, data)
    table = pd.DataFrame.from_dict(rows, "index")

    style.use(STYLE)
    pictures = {
        "tradeoff": tradeoff.tradeoff(table, benchmark["best"]),
        "sizes": tradeoff.sizes(table, tables.compressed_sizes(rows)),
        **accuracy_figures(benchmark, data),
        **mistakes.figures(answers, shown),
        **pruning_figures(rows),
    }
    if (student := results.student_in_int8(rows)) is not None:
        pictures["weights"] = weights_figure(student)
    sensitivities = sensitivity_results(rows)
    for method, (verdict, nodes) in sensitivities.items():
        title = f"One node in int8, {method}"
        pictures[f"sensitivity-{method}"] = sensitivity.sensitivity(nodes, verdict["queries"], title)

    with files.new_folder(paths.FIGURES) as folder:
        for name, figure in pictures.items():
            save(figure, folder / f"{name}.png", plot.dpi)
    report = results.report(
        benchmark, description, sensitivities, mistakes.section(answers[shown], rate), set(pictures)
    )
    files.write_text(paths.REPORTS / "report.md", report)
    write_mistakes(answers, data.texts("validation"))


if __name__ == "__main__":
    program(main, __doc__)
