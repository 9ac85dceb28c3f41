"""A disk that has no room ends a stage with one line that names the file; what was there stays, and nothing else does.

The room is what the system lets this process write of a file. A full disk is another errno of the same functions.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from conftest import contents

from intents.core import errors

# Of each stage its words, and what the line names.
STAGES = {
    "fetch_clinc": ((), "data/clinc"),
    "augment": (("teacher",), "data/augmented"),
    "distill": (("half",), ""),  # the first checkpoint of its training, or the model
    "prune": (("structured",), ""),
    "qat": ((), ""),
    "quantize": (("half", "static"), "models/half-torch-static"),
    "onnx_export": (("half",), "models/half-onnx"),
    "ort_quantize": (("half", "static"), "models/half-ort-static"),
    "evaluate": ((), "reports/"),
    "benchmark": ((), "reports/"),
    "select": ((), "reports/benchmark.json"),
    "plot": ((), "reports/figures"),
    "deploy": ((), "release"),
}
ROOM = {"qat": 4000, "select": 500, "evaluate": 500, "benchmark": 200}  # bytes of a file; elsewhere 1,000


def kept(project: Path) -> dict[str, str]:
    """What is there, apart from the checkpoints of trainings that may be resumed."""
    return {path: digest for path, digest in contents(project).items() if not path.startswith("data/.training/")}


@contextmanager
def room(size: int) -> Iterator[None]:
    """Within it, no file can grow beyond that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", STAGES)
def test_a_disk_without_room_is_one_line_and_loses_nothing(
    lent: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(lent)
    words, named = STAGES[name]
    before = kept(lent)

    def run() -> None:
        with room(ROOM.get(name, 1000)):
            import_module(f"stages.{name}").main(*words)

    monkeypatch.setattr("tqdm.std.tqdm.display", lambda *_, **__: None)  # pytest's own files have no more room either
    with pytest.raises(SystemExit) as ended:
        errors.run_program(run)
    assert ended.value.code == 1
    [_, line] = capfd.readouterr().err.split("error: ")  # maybe behind a progress bar
    assert "cannot be read or written: File too large" in line or "cannot be read or written: No space left" in line
    assert named in line
    assert kept(lent) == before
