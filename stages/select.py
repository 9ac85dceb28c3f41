"""select: accuracy, size and speed of every variant in one table, and the variant that is best.

In:  reports/evaluation.json, reports/manifest.json, reports/latency.json.
Out: reports/benchmark.json (the whole table, the best variant, the Pareto front), reports/summary.json (the few figures
     that a reader compares: `dvc metrics diff --targets` shows them) and reports/tradeoff.csv, which `dvc plots` draws.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from intents.core import files, paths, reading, settings, variants
from intents.core.errors import PipelineError, program
from intents.core.settings import at_least, between
from intents.core.variants import TEACHER, Form
from intents.evaluation import selection

# The columns of reports/tradeoff.csv.
COLUMNS = [
    *("accuracy", "accuracy_with_rule", "size_mb", "p50_ms"),
    *("speedup_vs_teacher", "size_ratio_vs_teacher", "pareto"),
]


@dataclass(frozen=True, kw_only=True)
class Select:
    max_accuracy_drop: float = between(0, 1)  # against the teacher, that a deployable variant may cost
    tie: float = at_least(0)  # variants whose p50 is within this share of the fastest one's count as equally fast


def main() -> None:
    select = settings.load(Select, "select")
    judged = reading.load(paths.EVALUATION, "dvc repro evaluate")
    evaluated = reading.rows(judged, "variants", ("accuracy", "accuracy_with_rule"))
    manifest = reading.rows(reading.load(paths.MANIFEST, "dvc repro evaluate"), numbers=("size_mb", "parameters"))
    clocked = reading.load(paths.LATENCY, "dvc repro benchmark")
    timed = reading.rows(clocked, "variants", ("p50_ms", "speedup_vs_teacher"))
    for path, known in ((paths.MANIFEST, manifest), (paths.LATENCY, timed)):
        if missing := [name for name in evaluated if name not in known]:
            raise PipelineError(f"{path} has no {missing[0]!r}, but {paths.EVALUATION} has; run `dvc repro select`")

    table: dict[str, dict[str, Any]] = {
        name: {
            **evaluated[name],
            "validation": evaluated[name]["validation"],  # which is asked for, and so must be there
            **{key: manifest[name][key] for key in ("folder", "size_mb", "parameters")},
            **timed[name],
            "size_ratio_vs_teacher": manifest[TEACHER]["size_mb"] / manifest[name]["size_mb"],
            "deployable": variants.parse(name).deployable,
            "peer": variants.parse(name).form is Form.PEER,
        }
        for name in evaluated
    }
    # A peer stands in the table to be compared with; it is no choice, and hides none.
    front = selection.pareto_front({name: row for name, row in table.items() if not row["peer"]})
    for name, row in table.items():
        row["pareto"] = name in front
        interval = row["validation"]["change_interval"]
        row["loss_beyond_budget"] = selection.on_budget(interval, select.max_accuracy_drop).value
    best = selection.best_deployable(table, select.max_accuracy_drop, select.tie)
    report = {
        "machine": clocked["machine"],
        "best": best,
        "deployed": best or selection.most_accurate_deployable(table),
        "batch_size": clocked["batch_size"],
        "budget": {"max_accuracy_drop": select.max_accuracy_drop, "tie": select.tie},
        "variants": table,
    }
    files.write_json(paths.BENCHMARK, files.rounded(report), sort_keys=False)  # variants in the order of the table
    summary = {
        name: {
            # What a variant is chosen by, and then what it is worth on queries that chose nothing.
            "validation_accuracy_with_rule": round(selection.accuracy(row), 4),
            "accuracy_with_rule": round(row["accuracy_with_rule"], 4),
            "size_mb": round(row["size_mb"], 2),
            "p50_ms": round(row["p50_ms"], 2),
        }
        for name, row in table.items()
    }
    files.write_json(paths.SUMMARY, summary, sort_keys=False)
    tradeoff = pd.DataFrame.from_dict(
        {name: {key: row[key] for key in COLUMNS} for name, row in table.items()}, "index"
    )
    with files.new_file(paths.TRADEOFF) as scratch:
        tradeoff.round(6).to_csv(scratch, index_label="variant", lineterminator="\n")


if __name__ == "__main__":
    program(main, __doc__)
