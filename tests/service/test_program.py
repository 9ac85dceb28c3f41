"""The service as a program: what it loads, how it stops, and what it does when it is full."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, run_tool
from service.requests import CLOSING, HEAD, WHOLE
from service.running import WAIT, answered, connected, everything, exchanged, running, statuses, until

from intents.core.errors import PipelineError
from intents.service import __main__ as service

HEAVY = ("torch", "transformers", "omegaconf", "pandas", "hydra", "safetensors", "onnx", "datasets", "tqdm", "dvc")
SLOWLY = """
import sys, threading, time
from intents.serving.classifier import Classifier
from intents.service import __main__ as service
batch = Classifier.batch
def slowly(self, texts, top=0):
    if threading.current_thread().name == "answers":
        time.sleep(0.5)
    return batch(self, texts, top)
Classifier.batch = slowly
sys.argv = ["service", "--port", "0", *sys.argv[1:]]
service.main()
"""


@pytest.fixture
def slow() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service that takes half a second for each group of queries, and lets 40 wait."""
    command = [sys.executable, "-c", SLOWLY, "--waiting", "40", "--batch", "40"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def test_accepted_requests_are_answered_when_it_is_told_to_stop(slow: tuple[subprocess.Popen[str], int]) -> None:
    process, port = slow
    with concurrent.futures.ThreadPoolExecutor(20) as threads, connected(port) as idle, connected(port) as half:
        idle.sendall(WHOLE)
        assert statuses(answered(idle)) == [200]
        half.sendall(HEAD)
        asked = [threads.submit(exchanged, port, [CLOSING]) for _ in range(20)]
        until(lambda: health(port)["waiting"] == 20)
        process.send_signal(signal.SIGTERM)
        assert [statuses(future.result()) for future in asked] == [[200]] * 20
        assert everything(idle) == everything(half) == b""  # nothing was accepted of them; they are closed
    assert process.wait(WAIT) == 0
    assert process.stderr
    assert process.stderr.read() == ""
    with pytest.raises(ConnectionRefusedError):
        connected(port)


def health(port: int) -> dict[str, int]:
    found = exchanged(port, [b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
    return json.loads(found.partition(b"\r\n\r\n")[2])


def test_when_it_is_full_it_refuses_at_once_and_says_when_to_come_again(
    slow: tuple[subprocess.Popen[str], int],
) -> None:
    _, port = slow
    with concurrent.futures.ThreadPoolExecutor(60) as threads:
        begun = time.monotonic()
        found = [future.result() for future in [threads.submit(exchanged, port, [CLOSING]) for _ in range(60)]]
        assert time.monotonic() - begun < WAIT
    by_status = {status: [one for one in found if statuses(one) == [status]] for status in (200, 503)}
    assert len(by_status[200]) + len(by_status[503]) == 60
    assert by_status[503]
    assert len(by_status[200]) >= 40
    for one in by_status[503]:
        assert b"retry-after: 1\r\n" in one
        assert b"too many queries wait; allowed: 40" in one
    assert health(port)["waiting"] == 0


def test_a_client_that_sends_its_body_too_slowly_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "log", "--stopping", "1") as (process, port), connected(port) as connection:
        connection.sendall(WHOLE[:-5])
        until(lambda: health(port)["status"] == "ok")
        process.terminate()
        process.wait(WAIT)
        assert process.returncode == 0
        found = everything(connection)
        assert statuses(found) == [503]
        assert b"the service stops" in found
    assert (tmp_path / "log").read_text().count("\n") == 1  # uvicorn's, that it did not wait for one


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    with running(tmp_path / "log") as (process, port):
        assert health(port)["status"] == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130
    assert (tmp_path / "log").read_text() == "stopped\n"


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(
            PipelineError, match=f"^--host 127.0.0.1 --port {number} cannot be listened at: Address already in use"
        ):
            run_tool(service, monkeypatch, "--port", str(number))


def test_it_loads_nothing_of_the_pipeline() -> None:
    code = "import json, sys; import intents.service.__main__; print(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert {name.split(".")[0] for name in loaded} & set(HEAVY) == set()
    ours = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("intents.")}
    assert ours == {"intents.core", "intents.service", "intents.serving"}


def test_it_leaves_nothing_in_the_folder_of_its_user(tmp_path: Path) -> None:
    """ONNX Runtime would leave an identifier of the machine there, and send it; it does not where CI is set."""
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    code = "import intents.service.__main__ as service; service.Classifier.load(service.paths.RELEASE)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment | {"HOME": str(tmp_path)}, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def pinned(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines if "==" in line}


def test_what_it_needs_is_at_the_versions_of_the_whole() -> None:
    found = pinned("requirements-service.txt")
    assert {line.split("==")[0] for line in found} == {"fastapi", "uvicorn", "httptools", "prometheus-client"}
    assert found <= pinned("requirements.txt")
    assert "-r requirements-serving.txt" in (ROOT / "requirements-service.txt").read_text().splitlines()


def test_the_dockerfile_copies_what_there_is_and_runs_as_nobody() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert "intents/service" in copied
    user = next(number for number, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user].split()[1].partition(":")[0] not in ("0", "root")
    assert user < next(number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT "))
