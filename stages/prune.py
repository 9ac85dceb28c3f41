"""prune: the student's encoder loses most of its weights, and goes on learning from the teacher with the rest.

Call: python -m stages.prune METHOD, with METHOD one of magnitude, movement, structured.
In:   data/clinc/, data/student/, the teacher's cached logits.
Out:  data/pruned-METHOD/ (a Hugging Face model folder), its logits and figures, the sparsity as it ran and what
      each layer lost.

magnitude and movement make single weights zero while training goes on. Zeros scattered over a matrix make it
compress well on disk, but not faster: a dense runtime multiplies by them all the same. structured cuts whole
heads and neurons out before training, so that the matrices themselves are smaller. The benchmark shows both.
"""

import argparse
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.library import (
    artifacts,
    checkpoints,
    distillation,
    encoding,
    logits,
    out_of_scope,
    pruning,
    quality,
    settings,
    splits,
    structured,
    trained,
    training,
)
from stages.library.errors import PipelineError, run_program
from stages.library.settings import above, at_least, between

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
REPORTS = Path("reports")

Log = list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Prune(training.Schedule):
    sparsity: float = between(0, 1, open_high=True)  # share of the encoder's weights that go
    scope: pruning.Scope  # whether scores compete within a layer or over the model
    alpha: float = between(0, 1)
    temperature: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Magnitude(Prune):
    start: float = between(0, 1)  # share of training before the ramp
    end: float = between(0, 1)  # share of training after which the sparsity is final
    interval: int = at_least(1)  # steps between two updates of the masks


@dataclass(frozen=True, kw_only=True)
class Movement(Magnitude):
    score_learning_rate: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Structured(Prune):
    multiple: int = at_least(1)  # of which each layer's number of neurons is one
    queries: int = at_least(1)  # training queries that heads and neurons are scored on


class Outcome(NamedTuple):
    sparsity: float  # share of the encoder's weights that went
    layers: Mapping[str, Any]  # what went, layer by layer
    schedule: Log  # rows of step, due, sparsity


class Plan(NamedTuple):
    """What a method brings to the training run, and what it has to say afterwards."""

    options: dict[str, Any]  # of training.train
    finish: Callable[[Log], Outcome]


def plan_magnitude(model: PreTrainedModel, prune: Magnitude, *_: Any) -> Plan:
    return plan_masks(model, prune, pruning.Method.magnitude)


def plan_movement(model: PreTrainedModel, prune: Movement, *_: Any) -> Plan:
    return plan_masks(model, prune, pruning.Method.movement, prune.score_learning_rate)


def plan_masks(
    model: PreTrainedModel, prune: Magnitude, method: pruning.Method, score_learning_rate: float = 0.0
) -> Plan:
    """Single weights, by masks that close while training goes on."""
    if prune.start >= prune.end:
        key = f"prune.{method.name}"
        raise PipelineError(f"`{key}.start` is {prune.start}; allowed: below `{key}.end`, which is {prune.end}")
    pruner = pruning.Pruner.attach(model, method)
    schedule = pruning.SparsitySchedule(pruner, prune.sparsity, prune.start, prune.end, prune.interval, prune.scope)

    def finish(log: Log) -> Outcome:
        outcome = Outcome(pruner.sparsity(), pruner.sparsities(), pruning.schedule_as_run(log))
        pruner.finish()
        return outcome

    options = {
        "keep_best": False,  # an earlier epoch is a denser model, not a better one
        "callbacks": [schedule],
        "optimizer": training.adamw(model, prune, pruning.is_score, score_learning_rate),
    }
    return Plan(options, finish)


def plan_structured(
    model: PreTrainedModel, prune: Structured, train: Dataset, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Plan:
    """Whole heads and neurons, cut out of `model` here and now."""
    before = structured.encoder_weights(model)
    batches = structured.batches(train, tokenizer, prune.queries, prune.batch_size, seed)
    scores = structured.importance(model, batches, prune.alpha, prune.temperature)
    kept = structured.select(scores, structured.head_size(model), prune.sparsity, prune.scope, prune.multiple)
    structured.shrink(model, kept)
    sparsity = 1 - structured.encoder_weights(model) / before
    schedule = [{"step": 0.0, "due": prune.sparsity, "sparsity": sparsity}]
    return Plan({}, lambda _: Outcome(sparsity, structured.report(scores, kept), schedule))


class Method(NamedTuple):
    settings: type[Prune]
    plan: Callable[..., Plan]  # of the model, the settings, the encoded training rows, the tokenizer and the seed


METHODS = {
    "magnitude": Method(Magnitude, plan_magnitude),
    "movement": Method(Movement, plan_movement),
    "structured": Method(Structured, plan_structured),
}


def compressed_mib(path: Path) -> float:
    """The size in MiB of a file after zlib's default compression."""
    return len(zlib.compress(path.read_bytes())) / artifacts.MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    method = parser.parse_args().method
    prune = settings.load(METHODS[method].settings, f"prune.{method}")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")
    variant = f"pruned-{method}"

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", "dvc repro finetune-teacher")
    training.seed_everything(run)
    student = artifacts.require(STUDENT, "dvc repro distill")
    model, tokenizer = checkpoints.load_classifier(student), checkpoints.load_tokenizer(student)
    train = encoding.encode(rows["train"], tokenizer, intents, teacher_logits["train"])
    plan = METHODS[method].plan(model, prune, train, tokenizer, run.seed)

    scratch = training.scratch_folder(
        variant, prune, run, student / checkpoints.WEIGHTS, logits.path("teacher"), *splits.files(CLINC)
    )
    log = training.train(
        model,
        tokenizer,
        train,
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=prune,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        alpha=prune.alpha,
        temperature=prune.temperature,
        **plan.options,
    )
    outcome = plan.finish(log)

    evaluated = {split: rows[split] for split in ("validation", "test")}
    _, figures = trained.save(variant, model, tokenizer, evaluated, intents, rule, load=structured.load_classifier)
    sizes = {
        "compressed_mb": compressed_mib(trained.DATA / variant / checkpoints.WEIGHTS),
        "compressed_mb_before": compressed_mib(STUDENT / checkpoints.WEIGHTS),
    }
    reached = {"encoder_sparsity": outcome.sparsity}
    quality.write(variant, figures | sizes | reached)
    artifacts.write_json(REPORTS / f"prune/{method}-layers.json", quality.rounded(outcome.layers))
    training.write_csv(REPORTS / f"prune/{method}-schedule.csv", outcome.schedule)
    training.write_csv(REPORTS / f"training/{variant}.csv", training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
