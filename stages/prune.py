"""prune: most weights of the student's encoder become zero, while it goes on learning from the teacher.

Call: python -m stages.prune METHOD, with METHOD one of movement, magnitude.
In:   data/clinc/, data/student/, the teacher's cached logits.
Out:  data/pruned-METHOD/ (a Hugging Face model folder), its logits and figures, the sparsity schedule as it ran
      and the sparsity of each layer.

Zeros scattered over a matrix make it compress well on disk. They do not make it faster: a dense runtime
multiplies by them all the same. The benchmark shows both.
"""

import argparse
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

from stages.library import (
    artifacts,
    checkpoints,
    distillation,
    encoding,
    inference,
    logits,
    model_folder,
    out_of_scope,
    pruning,
    quality,
    settings,
    splits,
    training,
)
from stages.library.errors import PipelineError, run_program
from stages.library.settings import above, at_least, between

CLINC = Path("data/clinc")
STUDENT = Path("data/student")
REPORTS = Path("reports")


@dataclass(frozen=True, kw_only=True)
class Magnitude(training.Schedule):
    sparsity: float = between(0, 1, open_high=True)  # share of the encoder's weights that become zero
    scope: pruning.Scope  # whether scores compete within a layer or over the model
    start: float = between(0, 1)  # share of training before the ramp
    end: float = between(0, 1)  # share of training after which the sparsity is final
    interval: int = at_least(1)  # steps between two updates of the masks
    alpha: float = between(0, 1)
    temperature: float = above(0)


@dataclass(frozen=True, kw_only=True)
class Movement(Magnitude):
    score_learning_rate: float = above(0)


METHODS = {"magnitude": Magnitude, "movement": Movement}


def compressed_mib(path: Path) -> float:
    """The size in MiB of a file after zlib's default compression."""
    return len(zlib.compress(path.read_bytes())) / artifacts.MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    method = parser.parse_args().method
    prune = settings.load(METHODS[method], f"prune.{method}")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")
    if prune.start >= prune.end:
        raise PipelineError(
            f"`prune.{method}.start` is {prune.start}; allowed: below `prune.{method}.end`, which is {prune.end}"
        )
    variant = f"pruned-{method}"
    pruned = Path("data") / variant

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", "dvc repro finetune-teacher")
    training.seed_everything(run)
    student = artifacts.require(STUDENT, "dvc repro distill")
    model, tokenizer = checkpoints.load_classifier(student), checkpoints.load_tokenizer(student)
    pruner = pruning.Pruner.attach(model, pruning.Method[method])
    schedule = pruning.SparsitySchedule(pruner, prune.sparsity, prune.start, prune.end, prune.interval, prune.scope)

    scratch = training.scratch_folder(
        variant, prune, run, student / checkpoints.WEIGHTS, logits.path("teacher"), CLINC / "train.jsonl"
    )
    log = training.train(
        model,
        tokenizer,
        encoding.encode(rows["train"], tokenizer, intents, teacher_logits["train"]),
        encoding.encode(rows["validation"], tokenizer, intents),
        schedule=prune,
        run=run,
        scratch=scratch,
        trainer=distillation.DistillationTrainer,
        arguments=distillation.DistillationArguments,
        keep_best=False,  # an earlier epoch is a denser model, not a better one
        callbacks=[schedule],
        optimizer=pruning.optimizer(
            model, prune.learning_rate, getattr(prune, "score_learning_rate", 0.0), prune.weight_decay
        ),
        alpha=prune.alpha,
        temperature=prune.temperature,
    )
    reached, by_layer = pruner.sparsity(), pruner.sparsities()
    pruner.finish()

    evaluated = ("validation", "test")
    with model_folder.new(pruned, model, tokenizer) as folder:
        model = checkpoints.load_classifier(folder)
        answers = {
            split: inference.logits_of(model, tokenizer, [row.text for row in rows[split]]) for split in evaluated
        }
        labels = {split: splits.labels(rows[split], intents) for split in evaluated}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save(variant, answers)
    sizes = {
        "compressed_mb": compressed_mib(pruned / checkpoints.WEIGHTS),
        "compressed_mb_before": compressed_mib(STUDENT / checkpoints.WEIGHTS),
    }
    quality.write(variant, figures | model_folder.figures(pruned, model) | sizes | {"encoder_sparsity": reached})
    artifacts.write_json(REPORTS / f"prune/{method}-layers.json", quality.rounded(by_layer))
    training.write_csv(REPORTS / f"prune/{method}-schedule.csv", pruning.schedule_as_run(log))
    training.write_csv(REPORTS / f"training/{variant}.csv", training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
