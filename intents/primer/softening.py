"""What a temperature does to a teacher's answers, and to how strongly they pull at a student's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from intents.training.distillation import distillation_loss


class Pull(NamedTuple):
    """Means over the queries, one entry per temperature."""

    divergence: list[float]  # KL
    plain: list[float]  # norm of KL's gradient in the student's logits
    scaled: list[float]  # norm of the gradient of T² · KL, which is what is trained with


class Softened(NamedTuple):
    """What the teacher, and the student after it, say of one query."""

    intent: str  # the right one
    names: list[str]  # the intents that the teacher finds likeliest
    teacher: np.ndarray  # their probabilities, (temperatures, names)
    student: np.ndarray  # same shape


def softened(logits: np.ndarray, temperatures: Sequence[float]) -> np.ndarray:
    """Softmax of logits (..., labels) at each of the temperatures, shape (temperatures, ..., labels)."""
    return np.stack([torch.from_numpy(logits).div(t).softmax(-1).numpy() for t in temperatures])


def telling(probabilities: np.ndarray) -> tuple[int, int]:
    """Two of the queries to show: one as sure as the median of all, and the one whose second answer is likeliest.

    Args:
        probabilities: (queries, labels).
    """
    ordered = np.sort(probabilities, axis=1)
    top, second = ordered[:, -1], ordered[:, -2]
    return int(np.argsort(top, kind="stable")[len(top) // 2]), int(second.argmax())


def pull(student: np.ndarray, teacher: np.ndarray, temperatures: Sequence[float]) -> Pull:
    """How far the student's answers are from the teacher's, and how strongly they are pulled there.

    Args:
        student, teacher: logits, (queries, labels).
    """
    found = Pull([], [], [])
    target = torch.from_numpy(teacher)
    for temperature in temperatures:
        ours = torch.from_numpy(student).requires_grad_()
        loss = distillation_loss(ours, target, temperature)
        (gradient,) = torch.autograd.grad(loss * len(ours), ours)  # of the sum: the loss is the mean over queries
        norm = gradient.norm(dim=1).mean().item()
        found.divergence.append(loss.item() / temperature**2)
        found.plain.append(norm / temperature**2)
        found.scaled.append(norm)
    return found


def queries(
    rows: Sequence[int],
    intents: Sequence[str],
    names: Sequence[str],
    teacher: np.ndarray,
    student: np.ndarray,
    temperatures: Sequence[float],
    likeliest: int = 6,
) -> list[Softened]:
    """What teacher and student say of some queries at several temperatures.

    Args:
        rows: of the queries.
        intents: the right intent of each query of the split.
        names: of all labels, in order.
        teacher, student: logits, (queries, labels).
        likeliest: how many intents to tell of, those that the teacher finds likeliest.
    """
    theirs, ours = (softened(array, temperatures) for array in (teacher, student))
    found = []
    for row in rows:
        labels = np.argsort(-teacher[row], kind="stable")[:likeliest]
        found.append(
            Softened(intents[row], [names[label] for label in labels], theirs[:, row, labels], ours[:, row, labels])
        )
    return found
