"""What processes that train one model together have to agree on. In a process of its own, nothing of it does anything.

Each takes its part of every batch, and gradients are averaged over all (torch's DistributedDataParallel, which the
Trainer wraps the model in). So the mean loss of a batch has to be the mean over processes of what each computes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import distributed
from torch.utils.data import Sampler

from intents.core import processes
from intents.core.errors import PipelineError
from intents.core.settings import at_least


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The section `launch` of params.yaml, which dvc.yaml reads: how trainings are started."""

    processes: int = at_least(1)
    command: str  # what stands before `-m stages.NAME`


def check_batch(batch_size: int) -> None:
    """Raise a PipelineError if the processes cannot share a batch evenly."""
    number = processes.count()
    if batch_size % number:
        raise PipelineError(
            f"`batch_size` is {batch_size}, and {number} processes share each batch; allowed: a multiple of {number}"
        )


def check_started(found: int) -> None:
    """Raise a PipelineError if the processes were started in a way in which they do not know of each other.

    Args:
        found: how many the library that trains sees.
    """
    if found != processes.count():
        raise PipelineError(
            f"training sees {found} processes, and this program {processes.count()}; allowed: to start them by "
            "`accelerate launch` or `torchrun`, without mpirun"
        )


def agreed(value: Any) -> Any:
    """The main process's `value`, in all processes."""
    if processes.count() == 1:
        return value
    return broadcast_object_list([value])[0]


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean of `value` over the processes, without a gradient."""
    if processes.count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / processes.count()


def share(weight: torch.Tensor) -> torch.Tensor | float:
    """This process's part of a sum of weights over the batch, times the number of processes.

    With a loss that is divided by the weights of its own rows, this makes the mean over processes that of the batch.

    Args:
        weight: the sum over the rows of this process, a scalar.
    """
    return 1.0 if processes.count() == 1 else weight / mean(weight)


class Agreed(Sampler[int]):
    """The rows in the order of the main process. Others would draw another: dropout has used up other random numbers.

    Args:
        sampler: draws an order anew for each epoch.
    """

    def __init__(self, sampler: Sampler[int]) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        return iter(agreed(list(self.sampler)))


def leave_to_main() -> None:
    """End training: the main process goes on, the others are done.

    Raises:
        processes.Done: this is one of the others.
    """
    if processes.count() == 1:
        return
    distributed.barrier()
    distributed.destroy_process_group()
    if not processes.is_main():
        raise processes.Done
