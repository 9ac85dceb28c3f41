"""evaluate: what every variant gets right, from its cached logits. No model runs, so it takes seconds.

In:  data/clinc/, data/logits/, the files of the models (for their size and digest), reports/models/.
Out: reports/evaluation.json (accuracies by arg-max and with the out-of-scope rule, the threshold that is calibrated on
     validation, the difference from the teacher there, parity with the model that a variant was converted from),
     reports/correct.csv (the intent of each test query, and which variants answer it rightly with the rule: what a
     review needs to tell a difference from noise), and reports/manifest.json (file, size and digests of every variant:
     what benchmark depends on, and so a new value of `out_of_scope.rate` times nothing again).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open

from intents.core import files, paths, reading, settings, table
from intents.core.errors import program
from intents.core.settings import between, seed_number
from intents.core.variants import TEACHER, Form, Variant
from intents.data import corpus, logits
from intents.data.corpus import Corpus
from intents.evaluation import quality, statistics
from intents.evaluation.threshold import OutOfScope

NOT_COUNTED = ("tokenizer.json", "README.md")  # of a peer's files


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    bootstrap_samples: int = between(100, 1_000_000)  # of the interval of each difference from the teacher
    seed: int = seed_number()  # of their draws


def parameters(variant: Variant) -> int:
    """The number of parameters of the model that a variant is a form of."""
    with safe_open(files.require(variant.weights, variant.made_by), framework="np") as file:
        return sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118 (no dict)


def described(variant: Variant) -> dict[str, Any]:
    """A variant's row of the manifest."""
    path = files.require(variant.weights, variant.made_by)
    found: dict[str, Any] = {"folder": variant.folder.as_posix(), "file": path.name}
    if variant.form is Form.PEER:  # all of its files but the tokenizer's, which is not counted of ours either
        digests = {file.name: file for file in sorted(path.iterdir()) if file.name not in NOT_COUNTED}
        whole = "".join(f"{name} {files.sha256_of_file(file)}\n" for name, file in digests.items())
        made = files.read_json(paths.MADE / f"{variant.name}.json", variant.made_by)[variant.name]
        found |= {
            "sha256": files.sha256(whole.encode()),
            "size_mb": sum(files.size_mib(file) for file in digests.values()),
            "parameters": made["parameters"],
        }
    else:
        found |= {
            "sha256": files.sha256_of_file(path),
            "size_mb": files.size_mib(path),
            "parameters": parameters(Variant(variant.model)),
        }
    return found | {
        "logits_sha256": files.sha256_of_file(files.require(logits.path(variant.name), variant.made_by)),
    }


def main() -> None:
    rule = settings.load(OutOfScope, "out_of_scope")
    evaluate = settings.load(Evaluate, "evaluate")
    rows = {variant.name: variant for variant in table.declared()}
    controls = table.load().controls

    data = Corpus()
    labels = {split: data.labels(split) for split in corpus.JUDGED}
    answers = {name: logits.load(name) for name in rows}
    found: dict[str, dict[str, Any]] = {}
    right: dict[str, dict[str, np.ndarray]] = {}
    validated: dict[str, np.ndarray] = {}
    for name, variant in rows.items():
        threshold, figures = quality.assess(answers[name], labels, rule.rate, rule.quantile)
        right[name] = quality.correct(answers[name]["test"], threshold, labels["test"])
        held_out = quality.cross_fitted(answers[name]["validation"], labels["validation"], rule.rate, rule.quantile)
        validated[name] = held_out == labels["validation"]
        made = reading.load(paths.MADE / f"{name}.json", variant.made_by)[name]
        found[name] = figures | {key: value for key, value in made.items() if key != "validation"}
        if parent := variant.parent:
            theirs = answers[parent.name]["validation"]
            found[name]["parity"] = quality.parity(parent.name, theirs, answers[name]["validation"])

    def compare(name: str, other: str, measure: str) -> tuple[float, list[float]]:
        change, interval = statistics.paired_difference(
            right[name][measure], right[other][measure], evaluate.bootstrap_samples, evaluate.seed
        )
        return change, list(interval)

    for name, row in found.items():
        for measure in right[name]:
            row[f"{measure}_change"], row[f"{measure}_change_interval"] = compare(name, TEACHER, measure)
        change, expected = statistics.weighted_difference(
            *(validated[name], validated[TEACHER], labels["validation"] == data.intents.out_of_scope),
            *(rule.rate, evaluate.bootstrap_samples, evaluate.seed),
        )
        row["validation"] |= {"change": change, "change_interval": list(expected)}
    for control, distilled in controls.items():
        gain, interval = compare(distilled, control, "accuracy_with_rule")
        found[control]["distilled"] = {
            "against": distilled,
            "accuracy_with_rule": found[distilled]["accuracy_with_rule"],
            "gain": gain,
            "gain_interval": interval,
        }

    # Variants in the order of the table. Nothing is written before the last file that may be missing was read.
    manifest = {name: described(variant) for name, variant in rows.items()}
    files.write_json(paths.EVALUATION, files.rounded({"variants": found}), sort_keys=False)
    files.write_json(paths.MANIFEST, files.rounded(manifest), sort_keys=False)
    outcomes = pd.DataFrame({name: outcome["accuracy_with_rule"].astype(int) for name, outcome in right.items()})
    outcomes.insert(0, "intent", [row.intent for row in data.rows("test")])
    with files.new_file(paths.CORRECT) as scratch:
        outcomes.to_csv(scratch, index_label="test_row", lineterminator="\n")


if __name__ == "__main__":
    program(main, __doc__)
