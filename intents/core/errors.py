"""Errors that a user can act on, and the one place where a program of this project ends."""

import argparse
import inspect
import logging
import sys
from collections.abc import Callable


class PipelineError(Exception):
    """Something the user can mend: a bad setting, a missing file, a source that does not answer.

    The message says what was expected, what was found and what to do, in one line.
    """


def run_program(main: Callable[[], None]) -> None:
    """Run a stage's `main`: a PipelineError ends it with one line and exit status 1, Ctrl-C with 130.

    Any other exception is a defect of ours and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "datasets", "onnxscript", "torch.onnx", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        main()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)


def program(main: Callable[..., None], description: str | None) -> None:
    """Run a stage's `main` with the words of the command line, one for each of its parameters; others are refused.

    A parameter with a default may be left out.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.default is parameter.empty:
            parser.add_argument(name)
        else:
            parser.add_argument(name, nargs="?", default=parameter.default)
    arguments = vars(parser.parse_args())
    run_program(lambda: main(**arguments))
