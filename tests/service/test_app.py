"""What each path answers: the answers of the classifier itself, Rasa's format, figures, OpenAPI, a page."""

import dataclasses
import json
import re
from collections.abc import Iterator

import pytest
from conftest import ROOT
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from intents.service import connections, metrics, schema
from intents.service.app import create
from intents.service.limits import Limits
from intents.serving.__main__ import as_json
from intents.serving.classifier import BATCH, Classifier

TEXTS = ["wake me up at six", "play some jazz", "", "qwx zzz the moon is made of sonnets", "what is my balance"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(ROOT / "release")


@pytest.fixture
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create(classifier)) as found:
        yield found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("top", [0, 3])
def test_an_answer_is_that_of_predict(client: TestClient, classifier: Classifier, text: str, top: int) -> None:
    answer = client.post("/predict", json={"text": text, "top": top})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(as_json(classifier(text, top), classifier.rule.threshold))
    schema.Prediction.model_validate(answer.json())


def test_several_are_answered_in_their_order(client: TestClient) -> None:
    alone = [client.post("/predict", json={"text": text, "top": 2}).json() for text in TEXTS]
    answer = client.post("/predict", json={"texts": TEXTS, "top": 2}).json()
    assert answer == {"answers": alone}
    schema.Predictions.model_validate(answer)
    assert client.post("/predict", json={"texts": []}).json() == {"answers": []}


def test_both_kinds_of_answers_are_among_them(classifier: Classifier) -> None:
    """Else the tests here would say nothing of one of them."""
    assert {answer.out_of_scope for answer in classifier.batch(TEXTS)} == {True, False}


# Rasa. ParseResult as docs/static/spec/rasa.yml of RasaHQ/rasa has it.

RASA_INTENT = {"name": str, "confidence": float}
RASA = {"text": str, "intent": dict, "intent_ranking": list, "entities": list}


@pytest.mark.parametrize("text", TEXTS)
def test_rasa_gets_its_own_format(client: TestClient, classifier: Classifier, text: str) -> None:
    # What RasaNLUHttpInterpreter of Rasa sends.
    answer = client.post("/model/parse", json={"token": None, "text": text, "message_id": "default"})
    assert answer.status_code == 200
    found = answer.json()
    assert {key: type(value) for key, value in found.items()} == RASA
    for intent in (found["intent"], *found["intent_ranking"]):
        assert {key: type(value) for key, value in intent.items()} == RASA_INTENT
        assert 0 <= intent["confidence"] <= 1
    schema.ParseResult.model_validate(found)
    expected = classifier(text, 10)
    assert found["text"] == text
    assert found["intent"] == found["intent_ranking"][0]
    named = found["intent_ranking"][expected.out_of_scope :]
    assert [(intent["name"], intent["confidence"]) for intent in named] == list(expected.alternatives)
    assert found["intent"]["name"] == ("nlu_fallback" if expected.out_of_scope else expected.intent)


# Figures.


def figures(client: TestClient) -> dict[tuple[str, str], float]:
    """{(name, label): value}; the label is that of the intent, else of path and status."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_requests(client: TestClient, classifier: Classifier) -> None:
    intents = [*classifier.rule.intents]
    assert figures(client)["intents_out_of_scope_share", ""] == 0
    assert client.post("/predict", json={"texts": TEXTS}).status_code == 200
    assert client.post("/model/parse", json={"text": TEXTS[0]}).status_code == 200
    assert client.post("/predict", content=b"{").status_code == 400
    assert client.get("/a").status_code == client.get("/b").status_code == 404
    found = figures(client)
    assert found["intents_requests_total", "/predict 200"] == 1
    assert found["intents_requests_total", "/predict 400"] == 1
    assert found["intents_requests_total", "/model/parse 200"] == 1
    assert found["intents_requests_total", "other 404"] == 2  # clients make paths up: they have one figure together
    assert found["intents_request_seconds_count", "/predict"] == 2
    answers = classifier.batch([*TEXTS, TEXTS[0]])
    names = [intents[-1] if answer.out_of_scope else answer.intent for answer in answers]
    by_intent = {intent: found["intents_answers_total", intent] for intent in intents}
    assert by_intent == {intent: names.count(intent) for intent in intents}
    assert found["intents_out_of_scope_share", ""] == pytest.approx(names.count(intents[-1]) / len(names))
    assert found["intents_queries_together_sum", ""] == len(names)
    assert found["intents_waiting_queries", ""] == 0
    assert found["process_resident_memory_bytes", ""] > 1e6


# What stands around it.


def test_health_says_what_answers(client: TestClient, classifier: Classifier) -> None:
    found = client.get("/health").json()
    expected = {"intents": len(classifier.rule.intents) - 1, "threshold": classifier.rule.threshold}
    assert found == {"status": "ok", "waiting": 0, **expected}
    schema.Health.model_validate(found)


def test_openapi_names_the_paths_the_limits_and_what_comes_back(classifier: Classifier) -> None:
    with TestClient(create(classifier, Limits(characters=77, batch=7, top=5))) as client:
        found = client.get("/openapi.json").json()
    assert set(found["paths"]) == {"/predict", "/model/parse", "/health", "/metrics"}
    predict = found["paths"]["/predict"]["post"]
    one, many = predict["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert one["properties"]["text"]["maxLength"] == many["properties"]["texts"]["items"]["maxLength"] == 77
    assert (many["properties"]["texts"]["maxItems"], one["properties"]["top"]["maximum"]) == (7, 5)
    assert set(predict["responses"]) == {"200", "400", "408", "413", "415", "422", "503"}
    assert {"Prediction", "Predictions", "ParseResult", "Problem"} <= set(found["components"]["schemas"])


def test_the_limits_are_those_that_were_set(classifier: Classifier) -> None:
    with TestClient(create(classifier, Limits(body=100, characters=10, batch=2, top=1, waiting=3))) as client:
        for body, message in (
            ({"text": "a" * 11}, '"text" has 11 characters; allowed: 10'),
            ({"texts": ["a"] * 3}, '"texts" holds 3 queries; allowed: 2'),
            ({"text": "a", "top": 2}, '"top" is 2; allowed: a whole number from 0 to 1'),
            ({"text": "a" * 100}, "the body is too large; allowed: 100 bytes"),
        ):
            assert client.post("/predict", json=body).json() == {"error": message}


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r"""(?:src|href|action)=["']?([^"'> ]+)""", answer.text) == ["data:,"]
    assert "url(" not in answer.text
    assert not re.search("https?:", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_a_fault_of_ours_is_told_without_its_traceback(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create(classifier)
    with TestClient(app, raise_server_exceptions=False) as client:
        monkeypatch.setattr(classifier.model, "logits_by_length", lambda _: 1 / 0)
        answer = client.post("/predict", json={"text": "play"})
        assert answer.status_code == 500
        assert answer.json() == {"error": "the service failed (ZeroDivisionError); its log says more"}
        monkeypatch.undo()
        assert client.post("/predict", json={"text": "play"}).status_code == 200
        assert figures(client)["intents_requests_total", "/predict 500"] == 1


def test_the_document_has_the_limits_that_there_are() -> None:
    text = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--(\w+)`[^|]*\| ([\d,]+)", text, re.MULTILINE)
    assert {name: int(number.replace(",", "")) for name, number in rows} == dataclasses.asdict(Limits())
    prose = " ".join(text.split())
    assert re.findall(r"Headers may have (\d+) KiB", prose) == [str(connections.HEADERS >> 10)]
    assert re.findall(r"share of the last ([\d,]+) queries", prose) == [f"{metrics.RECENT:,}"]
    assert re.findall(r"until they hold (\d+) queries or more", prose) == [str(BATCH)]
    assert re.findall(r"a request of (\d+) queries delays", prose) == [str(Limits().batch)]
