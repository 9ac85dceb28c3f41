"""Errors that a user can act on, and the one place where a program of this project begins and ends."""

import argparse
import errno
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from intents.core import interrupt, paths, processes

LONGEST = 390  # characters of an error, `error: ` included
# Errors of the disk or its permissions, which the user can mend. Any other OSError is a defect of this project.
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


class PipelineError(Exception):
    """Something the user can mend: a bad setting, a missing file, a source that does not answer.

    The message says what was expected, what was found and what to do, in one line.
    """


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line. Options cannot be abbreviated.

    Args:
        of: the module of the program.
        description: its docstring, shown as it is written.
    """

    def __init__(self, of: str, description: str | None) -> None:
        super().__init__(
            prog=f"python -m {of}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {short(message, LONGEST - 60)}; `{self.prog} --help` says more\n")


def short(message: str, longest: int = LONGEST - len("error: ")) -> str:
    """A message as one line of limited length. The middle is cut out, since the end says what is allowed."""
    line = " ".join(message.split())
    if len(line) <= longest:
        return line
    end = longest // 3
    return f"{line[: longest - end - 5]} ... {line[-end:]}"


def of_the_disk(error: BaseException) -> OSError | None:
    """The error of the disk that an exception is, or was raised from; None if there is none.

    Libraries written in other languages raise exceptions of their own, and only the text of those says what happened.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in DISK:
            return found
        code = next((code for code in DISK if f"(os error {code})" in str(found)), None)
        # PyTorch gives no reason when a file cannot be written to its end.
        if code is None and isinstance(found, RuntimeError) and "PytorchStreamWriter failed writing" in str(found):
            code = errno.ENOSPC
        if code is not None:
            return OSError(code, os.strerror(code))
        found = found.__cause__ or found.__context__
    return None


def refused(error: OSError, path: Any = None) -> PipelineError:
    """What the disk refused, as one line.

    Args:
        path: the file, if it is known better than the error names it.
    """
    named = path or error.filename2 or error.filename or "a file"
    return PipelineError(
        f"{named} cannot be read or written: {error.strerror}; mend that and run the same command again"
    )


def run_program(main: Callable[[], None]) -> None:
    """Run a program's `main`: a PipelineError, or a disk that refuses, ends it with one line and exit status 1.

    Ctrl-C ends it with 130. Any other exception is a defect of ours and keeps its traceback.
    """
    interrupt.as_usual()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "datasets", "onnxscript", "torch.onnx", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        main()
    except processes.Done:
        return
    except KeyboardInterrupt as interruption:
        if processes.is_main():
            print(str(interruption) or interrupt.TOLD, file=sys.stderr)
        sys.exit(interrupt.STATUS)
    except Exception as error:
        processes.let_main_speak()
        told = error if isinstance(error, PipelineError) else None
        if told is None and (found := of_the_disk(error)) is not None:
            told = refused(found)
        if told is None:
            raise
        print(f"error: {short(str(told))}", file=sys.stderr)
        sys.exit(1)


def program(main: Callable[..., None], description: str | None, *, trains: bool = False) -> None:
    """Run a stage's `main` with the words of the command line, one for each of its parameters; others are refused.

    A parameter with a default may be left out. Of one stage with the same words, one run goes on at a time.

    Args:
        trains: it may be started in several processes (`intents.core.processes`). Of any other stage, each would do all
            of the work.
    """
    parser = Parser(f"stages.{Path(sys.argv[0]).stem}", description)
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.default is parameter.empty:
            parser.add_argument(name)
        else:
            parser.add_argument(name, nargs="?", default=parameter.default)
    arguments = vars(parser.parse_args())

    def run() -> None:
        if processes.count() > 1 and not trains:
            raise PipelineError(
                f"{parser.prog} trains nothing, and was started in {processes.count()} processes; allowed: one"
            )
        held = alone("-".join([Path(sys.argv[0]).stem, *filter(None, arguments.values())]))
        with held if processes.is_main() else nullcontext():  # the main process's lock is that of all
            main(**arguments)

    run_program(run)


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Hold the lock of a stage while it runs. It is gone when the process ends, however it ends.

    Raises:
        PipelineError: another process holds it.
    """
    if not Path("params.yaml").is_file():  # no project: the stage reports that, and no lock is left here
        yield
        return
    from filelock import FileLock, Timeout  # not installed where only serving is

    named = re.sub(r"[^\w-]", "_", name)
    path = paths.SCRATCH / f"{named[:100]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout:
        raise PipelineError(
            f"another run of this stage goes on here and holds {path}; wait for its end, then run it again"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
