"""The answers that the documents show are those of the model in release/."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT

from intents.serving.classifier import Classifier

# Another CPU adds in another order, so int8 gives other last digits.
NEAR = {"probability": 0.02, "score": 0.2, "threshold": 0.005}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(ROOT / "release")


def text_of(name: str) -> str:
    return (ROOT / Path(name)).read_text(encoding="utf-8")


def test_the_readme_shows_what_predict_prints(classifier: Classifier) -> None:
    found = re.search(
        r'make predict QUERY="(.+)"\n(\w+)  probability (\S+)  score (\S+) \(threshold (\S+)\)  (.+)\n',
        text_of("README.md"),
    )
    assert found
    query, intent, probability, score, threshold, scope = found.groups()
    answer = classifier(query)
    assert (answer.intent, "out of scope" if answer.out_of_scope else "in scope") == (intent, scope)
    assert answer.probability == pytest.approx(float(probability), abs=NEAR["probability"])
    assert answer.score == pytest.approx(float(score), abs=NEAR["score"])
    assert classifier.rule.threshold == pytest.approx(float(threshold), abs=NEAR["threshold"])


def test_the_page_of_the_service_shows_what_it_answers(classifier: Classifier) -> None:
    found = re.search(r"--data '(.+)'\n(\{\"intent\"(?:.|\n)+?\]\})\n", text_of("docs/service.md"))
    assert found
    asked, shown = json.loads(found[1]), json.loads(found[2])
    answer = classifier(asked["text"], asked["top"])
    assert (shown["intent"], shown["out_of_scope"]) == (answer.intent, answer.out_of_scope)
    assert shown["probability"] == pytest.approx(answer.probability, abs=NEAR["probability"])
    assert shown["score"] == pytest.approx(answer.score, abs=NEAR["score"])
    assert shown["threshold"] == pytest.approx(classifier.rule.threshold, abs=NEAR["threshold"])
    assert [one["intent"] for one in shown["top"]] == [intent for intent, _ in answer.alternatives]


def test_so_does_its_example_of_several_queries(classifier: Classifier) -> None:
    found = re.search(r"--data '(\{\"texts\".+)'\n(.+)\n", text_of("docs/service.md"))
    assert found
    answers = classifier.batch(json.loads(found[1])["texts"])
    assert re.findall(r'"intent": "(\w+)"', found[2]) == [answer.intent for answer in answers]
