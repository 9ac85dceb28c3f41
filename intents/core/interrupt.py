"""Ctrl-C while a program's imports run: they take seconds (torch, transformers), and nothing is there to clean up."""

import os
import signal
import sys
from typing import Any

STATUS = 130  # what a shell gives for a program that Ctrl-C ended
TOLD = "interrupted; run the same command again to go on"


def at_once() -> None:
    """Let Ctrl-C end the program with one line, until `as_usual`. Of an import of a library it would leave a traceback.

    It is called as a package of programs is imported, and does nothing unless a program of it is being started: while
    `python -m` looks for the module, and no longer, sys.argv[0] is "-m".
    """
    if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def as_usual() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: Any) -> None:
    # No exception: libraries catch those of their own imports, and so the program would go on.
    os.write(2, f"{TOLD}\n".encode())
    os._exit(STATUS)
