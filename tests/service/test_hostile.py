"""Hostile requests: each has an answer or an error of one line, none a traceback, and the service stands after it."""

import json
import re
from collections.abc import Iterator

import pytest
from conftest import ROOT, run_tool
from fastapi.testclient import TestClient
from service.requests import ARGUMENTS, BODIES, MESSAGES, REQUESTS, SOCKETS, Sent
from serving.hostile import TEXTS

from intents.core.errors import PipelineError
from intents.service import __main__ as service
from intents.service.app import create
from intents.serving.classifier import LONGEST, Classifier


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create(Classifier.load(ROOT / "release"))) as found:  # a fault of ours is raised here
        yield found


def test_they_are_many() -> None:
    assert len(BODIES) + len(MESSAGES) + len(REQUESTS) + len(SOCKETS) + len(ARGUMENTS) >= 220


def check(content: bytes, status: int, found: int, message: str) -> None:
    assert found == status, content[:400]
    answer = json.loads(content)
    if status == 200:
        assert "error" not in answer
    else:
        assert list(answer) == ["error"]
        assert re.search(message, answer["error"]), answer["error"]
        assert "\n" not in answer["error"]
        assert len(answer["error"]) < 400


@pytest.mark.parametrize(("body", "status", "message"), BODIES.values(), ids=BODIES.keys())
def test_every_body_has_an_answer_or_an_error_that_names_what_is_wrong(
    client: TestClient, body: bytes, status: int, message: str
) -> None:
    answer = client.post("/predict", content=body)
    check(answer.content, status, answer.status_code, message)


@pytest.mark.parametrize(("body", "status", "message"), MESSAGES.values(), ids=MESSAGES.keys())
def test_so_has_every_message_of_rasa(client: TestClient, body: bytes, status: int, message: str) -> None:
    answer = client.post("/model/parse", content=body)
    check(answer.content, status, answer.status_code, message)


@pytest.mark.parametrize(("sent", "status", "message"), REQUESTS.values(), ids=REQUESTS.keys())
def test_so_has_every_request(client: TestClient, sent: Sent, status: int, message: str) -> None:
    answer = client.request(sent.method, sent.path, headers=sent.headers, content=sent.body)
    if sent.method == "HEAD":
        assert (answer.status_code, answer.content) == (status, b"")
    else:
        check(answer.content, status, answer.status_code, message)
    if status == 405:
        assert answer.headers["Allow"]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_text_has_an_answer_unless_it_is_too_long(client: TestClient, text: str) -> None:
    status = 200 if len(text) <= 5000 else 422
    for path in ("/predict", "/model/parse"):
        answer = client.post(path, content=json.dumps({"text": text}))  # json= would refuse half of a pair
        check(answer.content, status, answer.status_code, "characters; allowed: 5000")


def test_no_limit_lets_through_more_than_the_model_reads() -> None:
    assert service.Limits().characters <= LONGEST


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_a_wrong_argument_ends_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_tool(service, monkeypatch, *arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere"], "nowhere/model.onnx not found"),
        (["--host", "256.0.0.1"], "--host 256.0.0.1 --port 8000 cannot be listened at: "),
        (["--host", "x" * 5000], "--host x+"),
        (["--host", "a\0b"], "--host a"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 --port 8000 cannot be listened at: "),
    ],
)
def test_a_folder_or_an_address_that_is_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(PipelineError, match=message) as error:
        run_tool(service, monkeypatch, *arguments)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
