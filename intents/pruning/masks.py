"""Unstructured pruning during fine-tuning: single weights become zero, by masks that close while training goes on.

What magnitude.py and movement.py share. Both multiply each pruned weight matrix by a mask M of zeros and ones; the
masks keep the top weights by a score S, fewer of them as training goes on:

- magnitude (Zhu and Gupta, "To prune, or not to prune", 2017): S = |W|;
- movement (Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020, section 4): S is learnt.
  The mask has no gradient, so it is passed straight through: dL/dS = dL/dW' * W, with W' = W * M. A score
  thus grows while its weight moves away from zero, whether or not the weight is kept at the moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from intents.core.errors import PipelineError
from intents.core.settings import at_least, between
from intents.pruning import common
from intents.pruning.common import Log, Outcome, Plan, Scope
from intents.pruning.schedule import cubic_sparsity
from intents.training import trainer


@dataclass(frozen=True, kw_only=True)
class MaskSettings(common.Settings):
    """The settings that both techniques have."""

    start: float = between(0, 1)  # share of training before the ramp
    end: float = between(0, 1)  # share of training after which the sparsity is final
    interval: int = at_least(1)  # steps between two updates of the masks


def plan_masks(
    model: PreTrainedModel, settings: MaskSettings, key: str, score_learning_rate: float | None = None
) -> Plan:
    """The plan of masks; their scores are learnt at `score_learning_rate`, or are the weights' magnitudes."""
    if settings.start >= settings.end:
        raise PipelineError(f"`{key}.start` is {settings.start}; allowed: below `{key}.end`, which is {settings.end}")
    pruner = Pruner.attach(model, learnt=score_learning_rate is not None)
    ramp = SparsitySchedule(pruner, settings.sparsity, settings.start, settings.end, settings.interval, settings.scope)

    def finish(log: Log) -> Outcome:
        outcome = Outcome(pruner.sparsity(), pruner.sparsities(), schedule_as_run(log))
        pruner.finish()
        return outcome

    options = {
        "keep_best": False,  # an earlier epoch is a denser model, not a better one
        "callbacks": [ramp],
        "optimizer": trainer.adamw(model, settings, is_score, score_learning_rate or 0.0),
    }
    return Plan(options, finish)


class _MaskedStraightThrough(torch.autograd.Function):
    """W * M forward; backward, the gradient of W is masked, and that of the scores is dL/dW' * W."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        (gradient,) = gradients
        weight, mask = ctx.saved_tensors
        return gradient * mask, gradient * weight, None


class Mask(nn.Module):
    """A parametrization of one weight matrix: weight → weight * mask."""

    mask: torch.Tensor

    def __init__(self, weight: torch.Tensor, learnt: bool) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))
        self.scores = nn.Parameter(torch.zeros_like(weight)) if learnt else None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if self.scores is None:
            return weight * self.mask
        return _MaskedStraightThrough.apply(weight, self.scores, self.mask)

    def score(self, weight: torch.Tensor) -> torch.Tensor:
        """How much each weight deserves to be kept, same shape."""
        return (weight.abs() if self.scores is None else self.scores).detach()


@dataclass
class Pruner:
    """Masks over the encoder's linear layers (embeddings, pooler and classifier stay dense, as in the paper)."""

    masks: dict[str, Mask] = field(default_factory=dict)
    modules: dict[str, nn.Linear] = field(default_factory=dict)

    @classmethod
    def attach(cls, model: PreTrainedModel, learnt: bool) -> "Pruner":
        """Put masks on; with scores that are `learnt`, or with the magnitude of the weights for scores."""
        pruner = cls()
        for name, module in model.base_model.named_modules():
            if isinstance(module, nn.Linear) and "pooler" not in name:
                pruner.masks[name] = Mask(module.weight, learnt)
                pruner.modules[name] = module
        for name, module in pruner.modules.items():
            parametrize.register_parametrization(module, "weight", pruner.masks[name])
        return pruner

    @torch.no_grad()
    def prune_to(self, sparsity: float, scope: Scope) -> None:
        """Set the masks so that a share `sparsity` of the weights is zero, over the model or in each layer."""
        scores = {
            name: self.masks[name].score(module.parametrizations.weight.original)  # type: ignore[union-attr,arg-type]
            for name, module in self.modules.items()
        }
        groups = [list(scores)] if scope is Scope.model else [[name] for name in scores]
        for names in groups:
            flat = torch.cat([scores[name].flatten() for name in names])
            mask = torch.ones_like(flat)
            if dropped := round(sparsity * len(flat)):
                mask[torch.topk(flat, dropped, largest=False, sorted=False).indices] = 0
            for name, part in zip(names, mask.split([scores[name].numel() for name in names]), strict=True):
                self.masks[name].mask.copy_(part.view_as(scores[name]))

    def sparsities(self) -> dict[str, float]:
        """The share of zeros in each mask."""
        return {name: 1 - float(mask.mask.mean()) for name, mask in self.masks.items()}

    def sparsity(self) -> float:
        """The share of zeros in all masks together."""
        kept = sum(float(mask.mask.sum(dtype=torch.float64)) for mask in self.masks.values())
        return 1 - kept / sum(mask.mask.numel() for mask in self.masks.values())

    def finish(self) -> None:
        """Write the zeros into the weights and take the masks off: an ordinary model again."""
        for module in self.modules.values():
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def is_score(name: str) -> bool:
    """Whether a parameter of that name holds a mask's scores."""
    return name.endswith(".scores")


@dataclass
class SparsitySchedule(TrainerCallback):
    """Prunes as training goes on, and records the schedule as it ran."""

    pruner: Pruner
    final: float
    start: float
    end: float
    interval: int  # steps between two updates of the masks
    scope: Scope

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.interval == 0:
            self._prune(state, cubic_sparsity(state.global_step / state.max_steps, self.final, self.start, self.end))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # From the log, since a run may be resumed after its last step. What was due is compared, not what was reached:
        # the share of whole weights is a little off.
        pruned = schedule_as_run(state.log_history)
        if not pruned or pruned[-1]["due"] != self.final:  # no update fell after the end of the ramp
            self._prune(state, self.final)

    def _prune(self, state: TrainerState, due: float) -> None:
        self.pruner.prune_to(due, self.scope)
        # The Trainer's log is part of its checkpoints: a resumed run keeps the rows of the one cut off.
        state.log_history.append({"step": state.global_step, "due": due, "sparsity": self.pruner.sparsity()})


def schedule_as_run(log: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    """The rows that SparsitySchedule left in a Trainer's log: step, sparsity due, sparsity reached."""
    # In this order: a log that went through a checkpoint has its keys sorted.
    return [{key: entry[key] for key in ("step", "due", "sparsity")} for entry in log if "sparsity" in entry]
