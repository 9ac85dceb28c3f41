"""Several processes that train one model together, as `accelerate launch` or `torchrun` starts them.

Either tells each process, in its environment, its number and how many there are. All read the same settings and files
and train; then the first, the main process, goes on alone: it writes what the stage makes.
"""

import os
import time

GRACE = 8.0  # seconds in which the launcher ends a process after the main one has failed


class Done(Exception):  # noqa: N818 (no error)
    """Training is over, and this process is not the main one: it has nothing left to do."""


def count() -> int:
    """How many processes train together; 1 for a program that was started by itself."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def number() -> int:
    """Of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if "LOCAL_RANK" in os.environ else 0


def is_main() -> bool:
    return number() == 0


def let_main_speak() -> None:
    """To be called before an error is told: most meet all processes, or come of what ended the main one.

    If the main process fails too, the launcher ends this one while it waits here, and one line is told.
    """
    if not is_main():
        time.sleep(GRACE)
