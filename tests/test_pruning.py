"""Masks and scores: the straight-through gradient is the paper's, and movement finds what magnitude cannot."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from stages.library import training
from stages.library.pruning import unstructured
from stages.library.pruning.common import Scope
from stages.library.pruning.unstructured import Pruner

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
    schedule = training.Schedule(epochs=1, batch_size=32, learning_rate=1e-3, warmup=0.0, weight_decay=0.0)
    optimizer = training.adamw(model, schedule, unstructured.is_score, 1e-2)
    ramp = unstructured.SparsitySchedule(pruner, SPARSITY, start=0.1, end=0.7, interval=10, scope=Scope.model)
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
