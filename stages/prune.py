"""prune: most weights of the student's encoder become zero, while it goes on learning from the teacher.

In:  data/clinc/, data/student/, the teacher's cached logits.
Out: data/pruned/ (a Hugging Face model folder), its logits and figures, the sparsity schedule as it ran and
     the sparsity of each layer.

Zeros scattered over a matrix make it compress well on disk. They do not make it faster: a dense runtime
multiplies by them all the same. The benchmark shows both.
"""

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
PRUNED = Path("data/pruned")
HISTORY = Path("reports/training/pruned.csv")
SCHEDULE = Path("reports/prune/schedule.csv")
LAYERS = Path("reports/prune/layers.json")


@dataclass(frozen=True, kw_only=True)
class Prune(training.Schedule):
    method: pruning.Method
    sparsity: float = between(0, 1, open_high=True)  # share of the encoder's weights that become zero
    scope: pruning.Scope  # whether scores compete within a layer or over the model
    start: float = between(0, 1)  # share of training before the ramp
    end: float = between(0, 1)  # share of training after which the sparsity is final
    interval: int = at_least(1)  # steps between two updates of the masks
    score_learning_rate: float = above(0)  # of movement pruning's scores
    alpha: float = between(0, 1)
    temperature: float = above(0)


def compressed_mib(path: Path) -> float:
    """The size in MiB of a file after zlib's default compression."""
    return len(zlib.compress(path.read_bytes())) / artifacts.MIB


def main() -> None:
    prune = settings.load(Prune, "prune")
    run = settings.load(training.Run, "run")
    rule = settings.load(out_of_scope.OutOfScope, "out_of_scope")
    if prune.start >= prune.end:
        raise PipelineError(f"`prune.start` is {prune.start}; allowed: below `prune.end`, which is {prune.end}")

    intents = splits.load_intents(CLINC)
    rows = {split: splits.load(CLINC, split) for split in splits.SPLITS}
    teacher_logits = logits.load("teacher", "dvc repro finetune-teacher")
    training.seed_everything(run)
    student = artifacts.require(STUDENT, "dvc repro distill")
    model, tokenizer = checkpoints.load_classifier(student), checkpoints.load_tokenizer(student)
    pruner = pruning.Pruner.attach(model, prune.method)
    schedule = pruning.SparsitySchedule(pruner, prune.sparsity, prune.start, prune.end, prune.interval, prune.scope)

    scratch = training.scratch_folder(
        "pruned", prune, run, student / checkpoints.WEIGHTS, logits.path("teacher"), CLINC / "train.jsonl"
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
        optimizer=pruning.optimizer(model, prune.learning_rate, prune.score_learning_rate, prune.weight_decay),
        alpha=prune.alpha,
        temperature=prune.temperature,
    )
    reached, by_layer = pruner.sparsity(), pruner.sparsities()
    pruner.finish()

    evaluated = ("validation", "test")
    with model_folder.new(PRUNED, model, tokenizer) as folder:
        model = checkpoints.load_classifier(folder)
        answers = {
            split: inference.logits_of(model, tokenizer, [row.text for row in rows[split]]) for split in evaluated
        }
        labels = {split: splits.labels(rows[split], intents) for split in evaluated}
        threshold, figures = quality.assess(answers, labels, rule.rate)
        out_of_scope.save_rule(folder, intents.names, threshold, rule.rate)
    logits.save("pruned", answers)
    sizes = {
        "compressed_mb": compressed_mib(PRUNED / checkpoints.WEIGHTS),
        "compressed_mb_before": compressed_mib(STUDENT / checkpoints.WEIGHTS),
    }
    quality.write("pruned", figures | model_folder.figures(PRUNED, model) | sizes | {"encoder_sparsity": reached})
    artifacts.write_json(LAYERS, quality.rounded(by_layer))
    training.write_csv(SCHEDULE, pruning.schedule_as_run(log))
    training.write_csv(HISTORY, training.history(log))
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    run_program(main)
