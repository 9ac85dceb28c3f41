"""Answers in the format of Rasa's HTTP API, so that a Rasa assistant can name this service as its NLU server.

The schema is ParseResult of Rasa's OpenAPI document (docs/static/spec/rasa.yml of RasaHQ/rasa, 3.x). What is out of
scope gets the intent nlu_fallback, first in the ranking too, as Rasa's FallbackClassifier does: rules and stories that
handle it work unchanged.
"""

from typing import Any

from intents.serving.classifier import Answer

FALLBACK = "nlu_fallback"


def parsed(text: str, answer: Answer) -> dict[str, Any]:
    """Rasa's ParseResult of a message.

    Args:
        answer: with the alternatives that the ranking is to name.

    Returns:
        text, intent, intent_ranking and entities; of the latter there are none. The confidence of nlu_fallback is that
        of not being the likeliest intent.
    """
    ranking = [{"name": intent, "confidence": probability} for intent, probability in answer.alternatives]
    intent: dict[str, Any] = {"name": answer.intent, "confidence": answer.probability}
    if answer.out_of_scope:
        intent = {"name": FALLBACK, "confidence": 1 - answer.probability}
        ranking.insert(0, intent)
    return {"text": text, "intent": intent, "intent_ranking": ranking, "entities": []}
