"""A candidate of the search over shapes as it would be deployed: its int8 graph, what it answers, how long it takes."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from intents.data import logits
from intents.data.corpus import Corpus
from intents.evaluation import quality
from intents.evaluation.threshold import OutOfScope, expected_accuracy
from intents.models import folder
from intents.onnx import common
from intents.onnx.common import included
from intents.onnx.export import write
from intents.onnx.graph import fuse
from intents.serving.classifier import MODEL, TOKENIZER, Classifier, OnnxModel
from intents.serving.rule import Rule
from intents.timing import latency
from intents.training.finite import DivergedError
from tools.search.space import Timing


@dataclass(frozen=True)
class Conversion:
    """How a trained student becomes what is deployed."""

    int8: common.Settings
    method: str  # of int8
    opset: int
    threads: int  # cores that one answer may use

    def served(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, data: Corpus, into: Path) -> OnnxModel:
        """The model's int8 graph, in an empty folder; as the stages onnx-export and ort-quantize make it.

        Raises:
            PipelineError: a node that `ort_quantize` excludes is not there.
        """
        plain = into / "float32"
        plain.mkdir()
        folder.save_tokenizer(plain, tokenizer)
        write(model, plain / MODEL, self.opset, tokenizer.cls_token_id)
        (into / TOKENIZER).write_bytes((plain / TOKENIZER).read_bytes())
        fused = plain / "fused.onnx"
        fuse(plain / MODEL, fused)
        nodes = included(fused, self.int8.exclude, f"ort_quantize.{self.method}.exclude")
        self.int8.quantizer(fused, data.texts("train"), OnnxModel(plain).inputs)(into / MODEL, nodes)
        return OnnxModel(into, self.threads)


class Judged(NamedTuple):
    accuracy: float  # expected with the rule on validation, 0 to 1
    error: float  # its standard error


def judged(model: OnnxModel, data: Corpus, rule: OutOfScope) -> Judged:
    """The expected accuracy with the rule on validation, cross-fitted: what variants are chosen by.

    Raises:
        DivergedError: a logit is not finite.
    """
    labels, oos = data.labels("validation"), data.intents.out_of_scope
    answers = logits.one_by_one(model.logits, data.texts("validation"))
    if not np.isfinite(answers).all():
        raise DivergedError("the model gives logits that are not finite")
    given = quality.cross_fitted(answers, labels, rule.rate, rule.quantile)
    outside = labels == oos
    rate = rule.rate if outside.any() else 0.0
    halves = [(share, (given == labels)[half]) for share, half in ((1 - rate, ~outside), (rate, outside)) if share]
    variance = sum(share**2 * right.var() / len(right) for share, right in halves)
    return Judged(expected_accuracy(given, labels, oos, rule.rate), float(np.sqrt(variance)))


def relative_time(model: OnnxModel, reference: OnnxModel, data: Corpus, timing: Timing, seed: int) -> float:
    """How long `model` takes to answer a query, as a multiple of what `reference` takes; 1 if they are as fast.

    Both answer the same validation queries through the serving call, in turn and in several blocks. The median of the
    blocks' ratios of medians counts: whatever else the machine does slows both, and a bad moment is one block's.

    Args:
        seed: of the queries drawn and of the turns.
    """
    # The threshold's value takes no time, so any will do.
    rule = Rule(data.intents.names, threshold=-1e9, rate=0.5)
    texts = data.texts("validation")
    queries = random.Random(seed).sample(texts, min(timing.queries, len(texts)))
    answerers = {"model": Classifier(model, rule), "reference": Classifier(reference, rule)}
    times = latency.interleaved(answerers, queries * timing.blocks, timing.warmup, seed)
    ours, theirs = (np.median(times[name].reshape(timing.blocks, -1), axis=1) for name in ("model", "reference"))
    return float(np.median(ours / theirs))
