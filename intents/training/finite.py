"""A training whose loss is infinite or no number ends at once: what it goes on to make is of no use."""

from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import Trainer

from intents.core import processes
from intents.core.errors import PipelineError
from intents.training import together

# Settings that can make a training diverge, named where one does.
SUSPECTS = (
    *("learning_rate", "head_rate", "score_learning_rate", "range_learning_rate"),
    *("out_of_scope_weight", "temperature", "alpha", "weight_decay"),
)


class DivergedError(PipelineError):
    """A training diverged with its settings. A search goes on with others."""


class FiniteTrainer(Trainer):
    """A Trainer that ends at the first loss that is not finite.

    Raises:
        DivergedError: the loss of a step or of an evaluation is infinite or no number; the message has the settings.
    """

    settings: Any  # those of the run, set by `trainer.train`

    def training_step(self, *inputs: Any, **more: Any) -> torch.Tensor:
        loss = super().training_step(*inputs, **more)
        of_all = together.mean(loss)  # so that all processes end, and none waits for the others
        if not torch.isfinite(of_all):
            raise diverged(self.settings, f"the loss is {of_all.item()} in step {self.state.global_step + 1}")
        return loss

    def _get_train_sampler(self, *inputs: Any) -> Sampler[int] | None:
        sampler: Sampler[int] | None = super()._get_train_sampler(*inputs)
        return sampler if sampler is None or processes.count() == 1 else together.Agreed(sampler)

    def evaluate(self, *inputs: Any, **more: Any) -> dict[str, float]:
        metrics = super().evaluate(*inputs, **more)
        if not np.isfinite(metrics.get("eval_loss", 0.0)):
            raise diverged(self.settings, f"the loss on validation is {metrics['eval_loss']}")
        return metrics


def diverged(settings: Any, what: str) -> DivergedError:
    """The error of a training that diverged: what was seen, and the settings that may be why."""
    values = {name: getattr(settings, name) for name in SUSPECTS if getattr(settings, name, None) is not None}
    named = ", ".join(f"`{name}` {value:g}" for name, value in values.items())
    return DivergedError(f"training diverged: {what}. It ran with {named}; a lower `learning_rate` comes first to try")
