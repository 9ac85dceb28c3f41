"""Queries of your own that the deployed model must answer correctly."""

from collections.abc import Sequence
from dataclasses import dataclass

from intents.core.errors import PipelineError
from intents.data.corpus import OUT_OF_SCOPE
from intents.serving.classifier import Classifier

LONGEST = 80  # characters of a query in an error


@dataclass(frozen=True, kw_only=True)
class Query:
    text: str
    intent: str  # that it must be answered with; "oos" where it must be judged out of scope


@dataclass(frozen=True, kw_only=True)
class MustPass:
    queries: list[Query]


def check(queries: Sequence[Query], classifier: Classifier, variant: str) -> None:
    """Ask the classifier each query.

    Args:
        variant: what the classifier was made of, for errors to name.

    Raises:
        PipelineError: a query names an intent that the model does not know, or one or more are not answered as they
            must be: the message names the first with what is expected and what was given.
    """
    names = set(classifier.rule.intents)
    for place, query in enumerate(queries):
        if query.intent not in names:
            raise PipelineError(
                f"`must_pass.queries[{place}].intent` is {query.intent!r:.80}; allowed: one of the {len(names)} "
                f"intents of the data set, {OUT_OF_SCOPE} among them (in YAML, yes and no stand in quotes)"
            )
    answers = classifier.batch([query.text for query in queries])
    given = [OUT_OF_SCOPE if answer.out_of_scope else answer.intent for answer in answers]
    failed = [(query, intent) for query, intent in zip(queries, given, strict=True) if query.intent != intent]
    if failed:
        (first, intent), count = failed[0], len(failed)
        text = first.text if len(first.text) <= LONGEST else f"{first.text[: LONGEST - 1]}…"
        raise PipelineError(
            f"{variant} answers {count} of {len(queries)} queries of `must_pass` wrongly, so it is not deployed; "
            f"{text!r} must be {first.intent:.60} and is {intent:.60}"
        )
