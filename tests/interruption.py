"""A training that ends as by Ctrl-C while it judges an epoch, before it saves it: in this process, or in a program's.

As a program this distils `half`, and ends so in the second epoch. It runs from a copy of this file, in the project's
folder.
"""

import itertools
from contextlib import AbstractContextManager, suppress
from typing import Any
from unittest.mock import patch

from intents.core import errors
from intents.training import trainer
from stages import distill


def in_epoch(number: int) -> AbstractContextManager[object]:
    """Within it, a training ends in that epoch; the first is 1."""
    original, epochs = trainer.accuracy, itertools.count(1)

    def accuracy(prediction: object) -> dict[str, float]:
        if next(epochs) == number:
            raise KeyboardInterrupt
        return original(prediction)

    return patch.object(trainer, "accuracy", accuracy)


def options_of_training(stage: Any, *words: str) -> dict[str, Any]:
    """What a stage gives its training by name; the training ends before it begins."""
    with patch.object(trainer, "train", side_effect=KeyboardInterrupt) as train, suppress(KeyboardInterrupt):
        stage.main(*words)
    return dict(train.call_args.kwargs)


if __name__ == "__main__":
    with in_epoch(2):
        errors.run_program(lambda: distill.main("half"))
