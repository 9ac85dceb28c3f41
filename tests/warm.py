"""A `python` and a `dvc` that start at once: forks of a process that has the heavy packages loaded.

A stage run from a shell spends most of its time on importing torch and transformers, and the tests here run some
hundred. So DVC and the tests that call programs find a `python` on PATH that hands `python -m MODULE` to a server,
started by `started` for one process of pytest: the server forks, and the fork runs the module with the caller's folder,
environment, arguments and streams. What a test sees is what it would see of a new process: its status, its output and
its files, and none of this project's modules loaded before. Who kills the one that called kills the fork. It is
multiprocessing's forkserver with its preloaded modules, for programs that other programs start.

The packages are loaded once, with the environment of the server: what they read of it at import is the same for all.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cpuinfo
import psutil

# What takes long, and no more: all else a program has to import for itself.
PRELOADED = (
    *("torch", "torch.onnx._internal.exporter._core", "datasets", "transformers.trainer", "transformers.pipelines"),
    *("transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert", "onnxscript"),
    *("omegaconf", "matplotlib.pyplot", "adjustText", "jinja2", "sklearn.metrics", "scipy.stats", "optuna", "pandas"),
    *("sqlalchemy.dialects.sqlite", "networkx", "dvc.cli", "dvc.cli.parser", "dvc.repo", "dvc.repo.experiments"),
    *("dvc.repo.experiments.queue.celery", "dvc.repo.reproduce", "dvc.repo.status", "dvc.commands.repro", "dvc.api"),
    *("dvc.dvcfile", "dvc.output", "dvc.dependency.param", "dvc.stage.cache", "dvc.fs", "hydra", "ruamel.yaml"),
)  # not ONNX Runtime: it has a thread, lost in a fork

LEFT: list[subprocess.Popen[bytes]] = []  # servers that outlast this process
LOOK_S = 1.0  # how often a server looks whether its owner is still there
OPSET = 20  # of an export before all others; of another opset, only the table of operators is made anew

# It has no package to import, not even site's. What is no `python -m`, nor how DVC calls itself, is not for the server.
CLIENT = """#!{python} -IS
import os, sys
words = sys.argv[1:]
if os.path.basename(sys.argv[0]) == "dvc":
    words = ["-m", "dvc", *words]
elif words and words[0].endswith("/dvc/__main__.py"):
    words = ["-m", "dvc", *words[1:]]
if words[:1] != ["-m"]:
    os.execv({python!r}, [{python!r}, *words])
import json, socket
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
call = json.dumps([words[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(call).to_bytes(8, "big")], [0, 1, 2])
server.sendall(call)
status = server.recv(1)
sys.exit(status[0] if status else "error: the server of warm.py is gone")
"""


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Path]:
    """A server, and the folder with its `python` and `dvc`, to come first on PATH.

    Args:
        folder: an empty one, for the programs and the home of Hugging Face's cache.
    """
    # The path of a socket has a hundred characters or fewer, and those of pytest's folders are longer.
    with tempfile.TemporaryDirectory() as name, launched(folder, f"{name}/socket") as server:
        try:
            yield folder
        finally:
            assert server.stdin
            server.stdin.close()


def start(folder: Path, owner: int) -> None:
    """The same, for all the processes that `owner` has started: the server ends when that one has ended."""
    LEFT.append(launched(folder, f"{tempfile.mkdtemp()}/socket", owner))


def launched(folder: Path, address: str, owner: int = 0) -> subprocess.Popen[bytes]:
    """A server that is ready. Without an owner it goes on until its standard input is closed."""
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    (folder / "dvc").symlink_to(client)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # One thread each: more would only get in each other's way, and OpenMP's spin while they wait.
    environment |= {"HF_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, __file__, address, str(client), str(owner)],
        env=environment,
        stdin=subprocess.DEVNULL if owner else subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    return server


def serve(address: str, client: str, owner: str) -> list[str]:
    """Answer calls until the owner, or else standard input, ends.

    In a fork, return the words of a call, set up as its caller is.

    Args:
        client: what a fork takes for the Python that runs it, so that the programs that it starts are forks as well.
    """
    import quick  # torch is not for those who only start a server

    for module in PRELOADED:
        __import__(module)
    cpuinfo.get_cpu_info = functools.cache(cpuinfo.get_cpu_info)  # by a program of its own, in half a second
    cpuinfo.get_cpu_info()
    quick.keep()
    quick.warm_up(OPSET)
    assert threading.active_count() == 1  # a fork would lose the others
    gc.freeze()  # else a fork that collects, above all as it ends, copies every page
    watched = [] if int(owner) else [sys.stdin]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready = select.select([listener, *watched], [], [], LOOK_S)[0]
            if sys.stdin in ready or (int(owner) and not psutil.pid_exists(int(owner))):
                break
            if not ready:
                continue
            connection, _ = listener.accept()
            with connection:
                if not os.fork():
                    listener.close()
                    return answer(connection, client)
    if int(owner):
        shutil.rmtree(Path(address).parent)
    sys.exit()


def answer(connection: socket.socket, client: str) -> list[str]:
    """Fork once more: this process waits and tells the caller how it ended; the fork returns the words.

    If the caller goes first, the fork is killed, as the caller is likely to have been.
    """
    woken, wake = os.pipe()  # the signal that the fork has ended, as something to wait for
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as call:
        words, folder, environment = json.loads(call.read(int.from_bytes(size, "big")))
    if program := os.fork():
        if connection in select.select([connection, woken], [], [])[0]:
            os.kill(program, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        with contextlib.suppress(OSError):  # the caller is gone
            connection.sendall(bytes([status if status >= 0 else 128 - status]))  # as a shell tells of a signal
        os._exit(0)
    connection.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for end in (woken, wake):
        os.close(end)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    sys.executable = client
    os.environ.clear()
    os.environ.update(environment)
    return words


def run_module(name: str) -> int:
    """Run a module as `python -m` does, with all that a program does at its end but one thing; returns its status.

    An interpreter that ends takes everything apart that it has loaded, and in a fork each page so touched is copied
    first: a third of a second. So do forks of multiprocessing end without it.
    """
    status = 0
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status & 0xFF


if __name__ == "__main__":
    base = sys.path[1:]  # without the folder of this file
    sys.argv = serve(*sys.argv[1:])
    sys.path = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *base]
    os._exit(run_module(sys.argv[0]))
