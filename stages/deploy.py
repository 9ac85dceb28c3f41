"""deploy: the best variant in one folder with a fixed path, the artifact of this pipeline. It is small and kept in Git.

In:  reports/benchmark.json (which variant, its threshold, temperature and figures), reports/manifest.json (the digest
     of its file), its model folder and that of the model it is a form of, data/clinc/ (the names of the intents).
Out: release/: model.onnx, tokenizer.json and classifier.json, all that intents.serving reads; onnx/model.onnx, the same
     in ONNX's own operators, config.json and the tokenizer's other files, as Hugging Face's libraries read them;
     README.md (the model card), LICENSE, NOTICE and, where the checkpoint asks for it, its licence. It stays as it was
     if the model fails a query of `must_pass`.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from intents.core import files, paths, reading, settings, variants
from intents.core.errors import PipelineError, program
from intents.core.variants import Variant
from intents.data.corpus import Corpus
from intents.evaluation import must_pass
from intents.evaluation.must_pass import MustPass
from intents.evaluation.threshold import OutOfScope
from intents.onnx.plain import NoPlainFormError, plain
from intents.reports import card
from intents.reports.card import Data, Origin, Plain
from intents.serving.classifier import BATCH, MODEL, TOKENIZER, Classifier, OnnxModel
from intents.serving.rule import Rule

CONFIG = "config.json"
PLAIN = Path("onnx") / MODEL  # where transformers.js looks for a graph, and text-embeddings-inference
# transformers.js takes another file for each kind of numbers, and in a browser another kind than under Node. This is
# the kind whose file is model.onnx.
TRANSFORMERS_JS = {"dtype": "fp32"}
IF_THERE = ("tokenizer_config.json", "special_tokens_map.json")
LICENSE = Path(__file__).parents[1] / "LICENSE"
# Share of validation queries that both graphs may answer otherwise. Their numbers are the same, but not the order in
# which they are summed: in int8 one may be rounded to its neighbour, and that may decide between two intents.
CHANGED = 0.005
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


def for_loaders(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json of a folder of graphs, from that of the model that they were made of.

    No loader knows the project's `PooledClassifier`. To load a graph none needs to: it asks for the family, which says
    how text becomes inputs. So that is what the file says, beside the intents.
    """
    encoder = config.get("encoder_config")
    if encoder is None:
        return {**config, "transformers.js_config": TRANSFORMERS_JS}
    names = {key: config[key] for key in ("id2label", "label2id", "transformers_version") if key in config}
    kinds = [
        re.sub(r"(Model|For[A-Z]\w+)$", "ForSequenceClassification", kind)
        for kind in encoder.get("architectures") or []
    ]
    return {**encoder, **names, "architectures": kinds, "transformers.js_config": TRANSFORMERS_JS}


def write_plain(source: Path, tokenizer: Path, target: Path, texts: list[str]) -> Plain | None:
    """Write the plain form of a graph, and say how far its answers are from the graph's own.

    Args:
        source: the graph.
        tokenizer: its tokenizer.json.
        target: the file that is written.
        texts: validation queries, which both answer.

    Returns:
        None if the graph has none; then nothing is written.

    Raises:
        PipelineError: the two answer otherwise.
    """
    try:
        found = plain(onnx.load(source))
    except NoPlainFormError:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        onnx.save(found, folder / MODEL)
        shutil.copy(tokenizer, folder)
        fused, other = OnnxModel(source.parent), OnnxModel(folder)
        expected, alone = (np.stack([model.logits(text) for text in texts]) for model in (fused, other))
        batches = [other.logits_padded(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        target.parent.mkdir()
        shutil.copy(folder / MODEL, target)
    changed, changed_in_batches = (
        int((logits.argmax(axis=1) != expected.argmax(axis=1)).sum()) for logits in (alone, np.concatenate(batches))
    )
    if changed > max(1, CHANGED * len(texts)):
        raise PipelineError(
            f"the plain graph of {source} answers {changed} of {len(texts)} validation queries otherwise than the "
            f"graph itself; allowed: {CHANGED:.1%}"
        )
    return Plain(
        size_mb=target.stat().st_size / files.MIB,
        queries=len(texts),
        changed=changed,
        difference=float(np.abs(alone - expected).max()),
        batch=BATCH,
        changed_in_batches=changed_in_batches,
    )


def main() -> None:
    stated = settings.load(OutOfScope, "out_of_scope")
    about = settings.load(Data, "dataset", part=True)
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
        config = reading.load(model.folder / CONFIG, model.made_by)
        files.write_json(folder / CONFIG, for_loaders(config), sort_keys=False)
        for part in IF_THERE:
            if (model.folder / part).is_file():
                shutil.copy(model.folder / part, folder)
        shutil.copy(LICENSE, folder)
        data = Corpus()
        names = data.intents.names
        Rule(names, row["threshold"], rate, row["temperature"]).save(folder)
        other = write_plain(variant.weights, folder / TOKENIZER, folder / PLAIN, data.texts("validation"))
        for name, text in card.pages(benchmark, variant, len(names) - 1, rate, about, origin, other).items():
            files.write_text(folder / name, text)
        if queries:
            must_pass.check(queries, Classifier.load(folder, made_by="dvc repro deploy"), variant.name)


if __name__ == "__main__":
    program(main, __doc__)
