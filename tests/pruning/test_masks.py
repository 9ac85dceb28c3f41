"""Masks and scores: the straight-through gradient is the paper's, movement finds what magnitude cannot, and nothing
is pruned once the ramp has ended."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from intents.pruning import masks
from intents.pruning.common import Scope
from intents.pruning.masks import Pruner, SparsitySchedule
from intents.training import trainer

INPUTS, OUTPUTS, TELLING = 40, 4, 4  # of the inputs, the first few are those that the target depends on
SPARSITY = 1 - TELLING / INPUTS


class Linear(nn.Module):
    """One matrix to prune, in place of an encoder."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.base_model = nn.ModuleDict({"dense": nn.Linear(INPUTS, OUTPUTS, bias=False)})
        self.base_model["dense"].weight.data = weight.clone()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.base_model["dense"](inputs)


def test_scores_get_the_gradient_of_the_masked_weight_times_the_weight() -> None:
    draw = np.random.default_rng(0)
    weight, inputs, targets = (
        draw.normal(size=shape).astype(np.float32) for shape in ((OUTPUTS, INPUTS), (16, INPUTS), (16, OUTPUTS))
    )
    model = Linear(torch.from_numpy(weight))
    pruner = Pruner.attach(model, learnt=True)  # type: ignore[arg-type]
    mask = (draw.random(weight.shape) < 0.5).astype(np.float32)
    pruner.masks["dense"].mask.copy_(torch.from_numpy(mask))
    functional.mse_loss(model(torch.from_numpy(inputs)), torch.from_numpy(targets)).backward()

    error = inputs @ (weight * mask).T - targets
    gradient = 2 * error.T @ inputs / error.size  # of the loss, by W' = W * M
    scores = pruner.masks["dense"].scores
    assert scores is not None
    np.testing.assert_allclose(scores.grad, gradient * weight, rtol=1e-3, atol=1e-6)
    original = model.base_model["dense"].parametrizations.weight.original
    np.testing.assert_allclose(original.grad, gradient * mask, rtol=1e-3, atol=1e-6)


def pruned_in_training(learnt: bool) -> tuple[np.ndarray, float]:
    """The mask and the loss after training at a high sparsity, where size says the wrong thing.

    The target depends on a tenth of the inputs, by small weights that are right from the start. The other inputs are
    noise, and the weights on them are the large ones: they only do harm.
    """
    draw = torch.Generator().manual_seed(0)
    target = torch.zeros(OUTPUTS, INPUTS)
    target[:, :TELLING] = 0.2 * torch.sign(torch.randn(OUTPUTS, TELLING, generator=draw))
    noise = torch.sign(torch.randn(OUTPUTS, INPUTS, generator=draw))
    noise[:, :TELLING] = 0
    model = Linear(target + noise)
    pruner = Pruner.attach(model, learnt)  # type: ignore[arg-type]
    schedule = trainer.Schedule(epochs=1, batch_size=32, learning_rate=1e-3, warmup=0.0, weight_decay=0.0)
    optimizer = trainer.adamw(model, schedule, masks.is_score, 1e-2)
    ramp = SparsitySchedule(pruner, SPARSITY, start=0.1, end=0.7, interval=10, scope=Scope.model)
    state, steps = SimpleNamespace(global_step=0, max_steps=300, log_history=[]), range(300)
    for step in steps:
        state.global_step = step
        ramp.on_step_begin(None, state, None)  # type: ignore[arg-type]
        inputs = torch.randn(32, INPUTS, generator=draw)
        loss = functional.mse_loss(model(inputs), inputs @ target.T)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pruner.masks["dense"].mask.numpy(), loss.item()


def test_movement_keeps_the_small_weights_that_matter_where_magnitude_keeps_the_large_that_do_not() -> None:
    telling = np.zeros((OUTPUTS, INPUTS), bool)
    telling[:, :TELLING] = True
    (movement, learnt), (magnitude, stuck) = (pruned_in_training(learnt) for learnt in (True, False))
    assert movement.mean() == magnitude.mean() == pytest.approx(1 - SPARSITY)
    assert (movement.astype(bool) == telling).all()
    assert not magnitude[telling].any()
    assert learnt < 0.01 * stuck


STEPS, SHARE = 30, 0.83  # of 160 weights: 132.8, so the share reached is never quite the one due


def schedule_of(pruner: Pruner, interval: int) -> SparsitySchedule:
    return SparsitySchedule(pruner, SHARE, start=0.1, end=0.7, interval=interval, scope=Scope.model)


def run_through(interval: int) -> tuple[Pruner, SimpleNamespace]:
    """The steps of a run whose scores change after every one of them; its end is yet to be told to the schedule."""
    pruner = Pruner.attach(Linear(torch.ones(OUTPUTS, INPUTS)), learnt=True)  # type: ignore[arg-type]
    schedule, draw = schedule_of(pruner, interval), torch.Generator().manual_seed(0)
    state = SimpleNamespace(global_step=0, max_steps=STEPS, log_history=[{"loss": 1.0, "step": 0}])
    for step in range(STEPS):
        state.global_step = step
        schedule.on_step_begin(None, state, None)  # type: ignore[arg-type]
        pruner.masks["dense"].scores.data.normal_(generator=draw)
    state.global_step = STEPS
    return pruner, state


def test_a_run_that_reached_its_end_is_not_pruned_once_more_after_the_last_step() -> None:
    pruner, state = run_through(interval=3)
    mask, rows = pruner.masks["dense"].mask.clone(), list(state.log_history)
    assert abs(pruner.sparsity() - SHARE) > 1e-3
    # A schedule that saw no step itself is that of a run which was cut off after the last one, and resumed.
    schedule_of(pruner, interval=3).on_train_end(None, state, None)  # type: ignore[arg-type]
    assert torch.equal(pruner.masks["dense"].mask, mask)
    assert state.log_history == rows


@pytest.mark.parametrize("interval", [15, 1000])
def test_a_run_without_an_update_after_the_ramp_is_pruned_after_the_last_step(interval: int) -> None:
    pruner, state = run_through(interval)
    assert pruner.sparsity() < SHARE - 0.01
    schedule_of(pruner, interval).on_train_end(None, state, None)  # type: ignore[arg-type]
    assert pruner.sparsity() == pytest.approx(SHARE, abs=0.5 / (OUTPUTS * INPUTS) + 1e-9)
    last = masks.schedule_as_run(state.log_history)[-1]
    assert last == {"step": STEPS, "due": SHARE, "sparsity": pruner.sparsity()}
