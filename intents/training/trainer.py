"""Training runs that can be interrupted: what every fine-tuning of this pipeline has in common."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cpuinfo
import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from intents.core import files, paths, processes, source
from intents.core.errors import PipelineError
from intents.core.settings import at_least, between, seed_number
from intents.training import together
from intents.training.finite import FiniteTrainer

log = logging.getLogger(__name__)

Log = list[dict[str, float]]  # a Trainer's
METRIC = "accuracy"
LIBRARIES = ("torch", "transformers", "tokenizers")  # those that decide what a training run computes

Device = Enum("Device", ["auto", "cpu", "cuda"])
Precision = Enum("Precision", ["auto", "bf16", "fp32"])


@dataclass(frozen=True, kw_only=True)
class Run:
    seed: int = seed_number()
    device: Device
    precision: Precision  # auto: bfloat16 autocast where the hardware computes in it


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length and pace of one training run."""

    epochs: int = at_least(1)
    batch_size: int = at_least(1)
    learning_rate: float = between(0, 1, open_low=True)
    warmup: float = between(0, 1, open_high=True)  # share of the steps in which the learning rate rises
    weight_decay: float = between(0, 10)


def device(run: Run) -> torch.device:
    """The device to train on.

    Raises:
        PipelineError: run.device is cuda and there is none.
    """
    if run.device is Device.cuda and not torch.cuda.is_available():
        raise PipelineError("`run.device` is cuda, but torch finds no GPU; allowed here: auto, cpu")
    use_gpu = run.device is not Device.cpu and torch.cuda.is_available()
    return torch.device("cuda" if use_gpu else "cpu")


def in_bfloat16(run: Run) -> bool:
    """Whether to train under bfloat16 autocast: where it is asked for, or where the hardware has it."""
    if run.precision is not Precision.auto:
        return run.precision is Precision.bf16
    if device(run).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"avx512_bf16", "amx_bf16"} & set(cpuinfo.get_cpu_info().get("flags", [])))


def seed_everything(run: Run) -> None:
    """Seed Python, NumPy and torch; call it before a head is drawn or a layer added."""
    set_seed(run.seed)


def scratch_folder(stage: str, *inputs: Any) -> Path:
    """Where this run keeps its checkpoints: the name holds a digest of all that the run depends on.

    So a checkpoint is resumed only by a run with the same settings, inputs, libraries and code; comments and
    docstrings apart. After any change the training starts from the beginning.

    Args:
        inputs: settings (by their repr) and files (by their content).
    """
    parts = [files.sha256_of_file(part) if isinstance(part, Path) else repr(part) for part in inputs]
    parts += [*source.loaded().items(), *((name, version(name)) for name in LIBRARIES)]  # type: ignore[list-item]
    if processes.count() > 1:  # a checkpoint holds the random numbers of each process
        parts.append(f"{processes.count()} processes")
    return paths.SCRATCH / f"{stage}-{files.sha256(json.dumps(parts).encode())[:16]}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`; the Trainer writes trainer_state.json last."""
    complete = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            complete.append((json.loads(state.read_text())["global_step"], state.parent))
        except (ValueError, KeyError):
            continue  # cut off while it was written
    return max(complete)[1] if complete else None


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {METRIC: float((np.argmax(prediction.predictions, axis=1) == prediction.label_ids).mean())}


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    train: Dataset,
    validation: Dataset,
    schedule: Schedule,
    run: Run,
    scratch: Path,
    *,
    engine: Callable[..., Trainer] = FiniteTrainer,
    keep_best: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
    optimizer: torch.optim.Optimizer | None = None,
    loss: Callable[..., torch.Tensor] | None = None,
) -> Log:
    """Train `model` in place; resume from `scratch` if an earlier run was cut off there.

    Of several processes (`intents.core.processes`), each takes its part of every batch, and only the main one returns.

    Args:
        engine: makes the Trainer, a `FiniteTrainer`.
        loss: (outputs, labels, num_items_in_batch) to a scalar; the model's own cross-entropy if None.
        keep_best: end with the weights of the epoch that was best on validation; else with the last ones.

    Raises:
        PipelineError: the loss is not finite, or the batches cannot be shared by the processes.
        processes.Done: training is over, and this process is not the main one.

    Returns:
        The Trainer's log; `history` makes a table of it.
    """
    target = device(run)
    together.check_batch(schedule.batch_size)
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=schedule.batch_size,
        per_device_eval_batch_size=-(-64 // processes.count()) * processes.count(),  # 64, or just above
        accelerator_config={"split_batches": True},  # the sizes above are those of all processes together
        average_tokens_across_devices=False,  # it would multiply a loss by their number
        learning_rate=schedule.learning_rate,
        warmup_steps=schedule.warmup,  # a fraction below 1 is a share of all steps
        weight_decay=schedule.weight_decay,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        bf16=in_bfloat16(run),
        use_cpu=target.type == "cpu",
        seed=run.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=keep_best,
        metric_for_best_model=METRIC,
        dataloader_pin_memory=target.type == "cuda",
        report_to="none",
        disable_tqdm=False,  # else it follows the log level, and the progress bar is lost
    )
    together.check_started(arguments.world_size)
    arguments._n_gpu = min(arguments.n_gpu, 1)  # a process takes one GPU: with DataParallel, batches would grow
    running = engine(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=accuracy,
        callbacks=list(callbacks),
        compute_loss_func=loss,
        optimizers=(optimizer, None),
    )
    running.settings = schedule  # type: ignore[attr-defined]
    if not processes.is_main():
        set_seed(run.seed + processes.number())  # dropout of its own
    checkpoint = together.agreed(last_checkpoint(scratch))
    if checkpoint:
        log.info("resuming from %s", checkpoint)
    running.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    together.leave_to_main()
    return list(running.state.log_history)


def adamw(
    model: nn.Module, schedule: Schedule, own: Callable[[str], bool], own_learning_rate: float
) -> torch.optim.Optimizer:
    """AdamW with a rate of its own for the parameters that `own` names; they, biases and normalizations do not decay.

    Args:
        own: from a parameter's name.
    """
    groups: dict[str, list[nn.Parameter]] = {"decayed": [], "plain": [], "own": []}
    for name, parameter in model.named_parameters():
        groups["own" if own(name) else "decayed" if parameter.ndim > 1 else "plain"].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups["decayed"], "weight_decay": schedule.weight_decay},
            {"params": groups["plain"], "weight_decay": 0.0},
            {"params": groups["own"], "weight_decay": 0.0, "lr": own_learning_rate},
        ],
        lr=schedule.learning_rate,
        fused=True,
    )


def history(entries: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """A Trainer's log as one row per epoch (loss, learning_rate, eval_loss, eval_accuracy), nothing of the clock."""
    epochs: dict[float, dict[str, float]] = {}
    for entry in entries:
        kept = {key: entry[key] for key in ("loss", "learning_rate", "eval_loss", "eval_accuracy") if key in entry}
        if kept:
            epochs.setdefault(entry["epoch"], {"epoch": entry["epoch"]}).update(kept)
    return [epochs[epoch] for epoch in sorted(epochs)]


def write_history(variant: str, entries: Log) -> None:
    """reports/training/VARIANT.csv, from a Trainer's log."""
    files.write_csv(paths.TRAINING / f"{variant}.csv", history(entries))
