"""together: what processes that train one model agree on, and what a batch's loss is in parts."""

from functools import partial

import pytest
import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer

from intents.core import processes
from intents.core.errors import PipelineError
from intents.training import together
from intents.training.finite import FiniteTrainer
from stages.finetune_teacher import weighted_cross_entropy


@pytest.mark.parametrize(("batch_size", "count"), [(32, 1), (32, 2), (8, 8)])
def test_a_batch_that_can_be_shared_evenly_is_accepted(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, count: int
) -> None:
    monkeypatch.setattr(processes, "count", lambda: count)
    together.check_batch(batch_size)


@pytest.mark.parametrize(("batch_size", "count"), [(32, 3), (1, 2), (6, 4)])
def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch, batch_size: int, count: int) -> None:
    monkeypatch.setattr(processes, "count", lambda: count)
    told = f"`batch_size` is {batch_size}, and {count} processes share each batch; allowed: a multiple of {count}"
    with pytest.raises(PipelineError, match=told):
        together.check_batch(batch_size)


def test_processes_that_do_not_know_of_each_other_are_refused() -> None:
    together.check_started(1)
    with pytest.raises(PipelineError, match=r"training sees 2 processes, and this program 1; allowed: .*torchrun"):
        together.check_started(2)


def test_in_one_process_nothing_is_done() -> None:
    loss = torch.tensor(0.3)
    assert together.mean(loss) is loss
    assert together.share(loss) == 1.0
    order = SequentialSampler(range(3))
    assert together.agreed(order) is order
    together.leave_to_main()


def test_the_losses_of_two_halves_of_a_batch_have_the_mean_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out-of-scope queries weigh more, and the halves have not the same number of them."""
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 4), torch.tensor([3, 3, 3, 0, 1, 2, 0, 1])
    loss = partial(weighted_cross_entropy, weight=5.0)
    whole = loss({"logits": logits}, labels)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(together, "mean", lambda _: torch.tensor((3 * 5.0 + 1 + 4) / 2))  # of the weights of the halves
    halves = [loss({"logits": logits[rows]}, labels[rows]) for rows in (slice(4), slice(4, 8))]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)
    assert not torch.isclose(halves[0], whole)


def test_all_take_the_rows_in_the_order_of_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(together, "broadcast_object_list", lambda values: [values[0][::-1]])
    sampler = together.Agreed(SequentialSampler(range(4)))
    assert list(sampler) == [3, 2, 1, 0]
    assert len(sampler) == 4


def test_a_training_in_several_processes_draws_its_rows_so(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = SequentialSampler(range(4))
    monkeypatch.setattr(Trainer, "_get_train_sampler", lambda *_: drawn)
    running = object.__new__(FiniteTrainer)
    assert running._get_train_sampler() is drawn
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert isinstance(running._get_train_sampler(), together.Agreed)
