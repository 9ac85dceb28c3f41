"""What peers have in common: how one is trained and loaded, and what is said where its packages are not there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from intents.core.errors import PipelineError
from intents.data.corpus import Corpus

REQUIREMENTS = "requirements-peers.txt"
# Queries to scores, (queries, intents + 1), out-of-scope last: logits, or what takes their place in the rule.
Scores = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every peer; each adds its own, and says how it is trained."""

    reads: str  # what it is made of, for dvc.yaml: the training queries, or the folder of a model

    def train(self, data: Corpus, folder: Path) -> int:
        """Train on the training queries and write into `folder` all that `load` reads.

        Returns:
            The number of parameters.
        """
        raise NotImplementedError


@contextmanager
def packages(peer: str) -> Iterator[None]:
    """Where the packages of a peer are imported.

    Raises:
        PipelineError: one is not installed; the message names the file that lists them.
    """
    try:
        yield
    except ImportError as error:
        raise PipelineError(
            f"the peer {peer} needs a package that is not here ({str(error)[:120]}); "
            f"run `pip install -r {REQUIREMENTS}`, or take it out of `peers`"
        ) from None


def load(peer: str, folder: Path, threads: int) -> Scores:
    """A peer that `train` wrote.

    Args:
        peer: its name, that of a module here.
        threads: cores that one answer may use, where the peer can be told.
    """
    return import_module(f"intents.peers.{peer}").load(folder, threads)  # type: ignore[no-any-return]
