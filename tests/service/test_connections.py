"""Bytes over a socket: half requests, slow clients, what is no HTTP, more connections than are allowed."""

import concurrent.futures
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from service.requests import CLOSING, HEAD, SOCKETS, WHOLE
from service.running import WAIT, answered, connected, everything, exchanged, running, statuses

LIMITS = ("--seconds", "2", "--connections", "60", "--batch", "8000", "--waiting", "8000")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service") / "log"


@pytest.fixture(scope="module")
def port(log: Path) -> Iterator[int]:
    with running(log, *LIMITS) as (_, found):
        yield found


@pytest.fixture(scope="module")
def answers(port: int) -> dict[str, bytes]:
    """What came back for all of SOCKETS: sent side by side, since many wait for a timeout."""
    with concurrent.futures.ThreadPoolExecutor(len(SOCKETS)) as threads:
        found = {name: threads.submit(exchanged, port, pieces) for name, (pieces, _) in SOCKETS.items()}
        return {name: future.result() for name, future in found.items()}


@pytest.mark.parametrize("name", SOCKETS)
def test_whatever_is_sent_has_an_answer_that_can_be_read(answers: dict[str, bytes], name: str) -> None:
    assert statuses(answers[name]) == SOCKETS[name][1]
    last = answers[name].rpartition(b"\r\n\r\n")[2]
    if SOCKETS[name][1][-1] != 200:
        assert list(json.loads(last)) == ["error"]
        assert b"connection: close" in answers[name].lower()


def pour(connection: socket.socket, content: bytes) -> None:
    """Send again and again, until that fails."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        connection.sendall(content)


def test_a_client_that_sends_a_byte_now_and_then_is_not_waited_for(port: int) -> None:
    """Else some hundred of them would take all connections. Neither over its headers, nor over its body."""
    for begin in (HEAD, HEAD + b"Content-Length: 1000\r\n\r\n"):
        with connected(port) as connection:
            connection.sendall(begin)
            begun = time.monotonic()
            connection.settimeout(0.1)
            while time.monotonic() < begun + 20:
                try:
                    found = connection.recv(1 << 16)
                    break
                except TimeoutError:
                    connection.sendall(b"x" if begin is HEAD else b" ")
            assert statuses(found) == [408]


def test_a_body_that_never_ends_is_cut_although_it_was_answered(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            pour(connection, bytes(1 << 16))


def test_a_connection_between_requests_is_closed_after_a_while(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(WHOLE)
        assert statuses(everything(connection)) == [200]


@pytest.mark.parametrize("sent", [b"\r\n", b"\r\n\r\n"])
def test_line_feeds_after_an_answer_do_not_keep_a_connection_open(port: int, sent: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(WHOLE)
        assert statuses(answered(connection)) == [200]
        connection.sendall(sent)
        assert everything(connection) == b""


def test_nor_does_the_rest_of_a_body_that_was_refused(port: int) -> None:
    content = bytes(300_000)
    with connected(port) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(content), content[:1000]))
        assert statuses(answered(connection)) == [413]
        connection.sendall(content[1000:])
        assert everything(connection) == b""


def test_an_answer_that_is_not_read_is_dropped(port: int) -> None:
    """It is more than the kernel's buffers take. The service keeps the rest for a while and not for ever."""
    texts = json.dumps({"texts": ["play"] * 8000, "top": 20}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(WAIT)
        connection.connect(("127.0.0.1", port))
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(texts), texts))
        time.sleep(2 + 5 + 2)  # what LIMITS gives, what uvicorn adds, and some
        head, _, body = everything(connection).partition(b"\r\n\r\n")
        assert statuses(head) == [200]
        assert len(body) < int(re.findall(rb"content-length: (\d+)", head)[0])


def test_a_client_that_does_not_read_is_cut(port: int) -> None:
    texts = json.dumps({"texts": ["play"] * 250, "top": 20}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(texts), texts)
    with connected(port) as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        pour(connection, request)


def test_more_connections_than_are_allowed_are_told_so(port: int) -> None:
    held = [connected(port) for _ in range(60)]
    try:
        for connection in held[:50]:
            connection.sendall(WHOLE)
            assert statuses(answered(connection)) == [200]
        found = exchanged(port, [])
        assert statuses(found) == [503]
        assert b"retry-after: 1\r\n" in found
        assert b"too many connections; allowed: 60" in found
    finally:
        for connection in held:
            connection.close()


def test_after_all_of_it_the_service_answers_and_its_log_has_no_traceback(
    port: int, log: Path, answers: dict[str, bytes]
) -> None:
    assert answers
    deadline = time.monotonic() + 20
    while statuses(found := exchanged(port, [CLOSING])) != [200]:  # the connections above are being closed
        assert time.monotonic() < deadline
    assert re.search(rb'"intent": "\w+"', found)
    assert log.read_text() == ""
