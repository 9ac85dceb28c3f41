"""deploy: the best variant in one folder with a fixed path, the artifact of this pipeline. It is small and kept in Git.

In:  reports/benchmark.json (which variant, its threshold, temperature and figures), reports/manifest.json (the digest
     of its file), its model folder and that of the model it is a form of, data/clinc/ (the names of the intents).
Out: release/: model.onnx, tokenizer.json and classifier.json, all that intents.serving reads; config.json and the
     tokenizer's other files, as Hugging Face's libraries read them; README.md (the model card), LICENSE, NOTICE and,
     where the checkpoint asks for it, its licence. It stays as it was if the model fails a query of `must_pass`.
"""

import shutil
from pathlib import Path
from typing import Any

from intents.core import files, paths, reading, settings, variants
from intents.core.errors import PipelineError, program
from intents.core.variants import Variant
from intents.data.corpus import Corpus
from intents.evaluation import must_pass
from intents.evaluation.must_pass import MustPass
from intents.evaluation.threshold import OutOfScope
from intents.reports import card
from intents.reports.card import Data, Origin
from intents.serving.classifier import MODEL, TOKENIZER, Classifier
from intents.serving.rule import Rule

CONFIG = "config.json"
IF_THERE = ("tokenizer_config.json", "special_tokens_map.json")
LICENSE = Path(__file__).parents[1] / "LICENSE"
NEEDED = (
    *("threshold", "temperature", "ece", "size_mb", "p50_ms", "p95_ms", "accuracy", "accuracy_with_rule"),
    *("in_scope_accuracy_with_rule", "oos_recall_with_rule", "accuracy_with_rule_change"),
    *("accuracy_with_rule_change_interval", "size_ratio_vs_teacher", "speedup_vs_teacher"),
)


def chosen(benchmark: Any) -> Variant:
    """The variant that is deployed.

    Raises:
        PipelineError: benchmark.json has no such variant, or not all that is said of it.
    """
    try:
        name = benchmark["deployed"]
        row = benchmark["variants"][name]
        missing = [key for key in NEEDED if key not in row]
        if missing or not {"cpu", "threads"} <= set(benchmark["machine"]):
            raise KeyError(missing[0] if missing else "machine")
    except (KeyError, TypeError) as error:
        raise PipelineError(
            f"{paths.BENCHMARK} has no {error.args[0]!r:.80}, which deploy reads; run `dvc repro select`"
        ) from None
    return variants.parse(name)


def check_digest(variant: Variant) -> None:
    """Raise a PipelineError unless the file of a variant is the one that was judged."""
    manifest = reading.rows(reading.load(paths.MANIFEST, "dvc repro evaluate"))
    expected = manifest[variant.name]["sha256"]
    found = files.sha256_of_file(files.require(variant.weights, variant.made_by))
    if found != expected:
        raise PipelineError(
            f"{variant.weights} has sha256 {found[:12]}, {paths.MANIFEST} says {str(expected)[:12]}: it is not the one "
            "that was judged; run `dvc repro select`"
        )


def main() -> None:
    stated = settings.load(OutOfScope, "out_of_scope")
    data = settings.load(Data, "dataset", part=True)
    origin = settings.load(Origin, "teacher", part=True)
    queries = settings.load(MustPass, "must_pass").queries
    benchmark = reading.load(paths.BENCHMARK, "dvc repro select")
    variant = chosen(benchmark)
    check_digest(variant)
    row, model = benchmark["variants"][variant.name], Variant(variant.model)
    rate = None if "quantile" in row else stated.rate  # a quantile stands for no share of traffic

    with files.new_folder(paths.RELEASE) as folder:
        for part in (MODEL, TOKENIZER):
            shutil.copy(files.require(variant.folder / part, variant.made_by), folder)
        shutil.copy(files.require(model.folder / CONFIG, model.made_by), folder)
        for part in IF_THERE:
            if (model.folder / part).is_file():
                shutil.copy(model.folder / part, folder)
        shutil.copy(LICENSE, folder)
        names = Corpus().intents.names
        Rule(names, row["threshold"], rate, row["temperature"]).save(folder)
        for name, text in card.pages(benchmark, variant, len(names) - 1, rate, data, origin).items():
            files.write_text(folder / name, text)
        if queries:
            must_pass.check(queries, Classifier.load(folder, made_by="dvc repro deploy"), variant.name)


if __name__ == "__main__":
    program(main, __doc__)
