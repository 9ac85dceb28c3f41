"""What the tests of both searches share: their settings with some changed, and trainings that diverge."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from intents.training.finite import diverged


def write(path: Path, content: dict[str, Any], changes: dict[str, object]) -> None:
    """A file of settings with some values changed, as {"search.trials": 3}; None takes a key away."""
    content = copy.deepcopy(content)
    for name, value in changes.items():
        *sections, key = name.split(".")
        inner = content
        for section in sections:
            inner = inner[section]
        if value is None:
            del inner[key]
        else:
            inner[key] = value
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def diverging(distil: Callable[..., Any], *trials: int) -> Callable[..., Any]:
    """In the place of `distil`: it diverges in its first step in these of its calls, the first of which is 0."""
    calls = itertools.count()

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) in trials:
            raise diverged(arguments[4], "the loss is nan in step 1")
        return distil(*arguments, **options)

    return call
