"""Unlabelled queries made of the training queries, for a teacher to answer and a student to learn from.

A small student learns a teacher's function better from many inputs than from the few labelled ones, and the inputs need
not be good English: the teacher says what it makes of them (Tang et al., "Distilling Task-Specific Knowledge from BERT
into Simple Neural Networks", 2019, section 3.2; Jiao et al., "TinyBERT", 2020, section 3.3). Half of one query and half
of another is also what a teacher is unsure of, which teaches the student where the known intents end. Words near to
those of a query teach it words that the training queries lack.

Everything here is a pure function of its arguments: nothing is read from disk, so no other split can enter.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

from intents.core.errors import PipelineError

Words = list[str]
Near = Mapping[str, Sequence[str]]  # {word: words that are near in meaning}

log = logging.getLogger(__name__)

TRIES = 20  # draws for each query asked for

SHARE_DROPPED = (0.1, 0.4)  # of the words of a thinned query
MOST_SHUFFLED = 5  # words of a shuffled span
SHARE_SUBSTITUTED = 0.7  # of the words that have near ones


def splice(query: Words, other: Words, draw: Random) -> Words:
    """A beginning of one query, then an end of another; each gives at least one word."""
    return (
        query[: draw.randint(1, max(1, len(query) - 1))] + other[draw.randint(min(1, len(other) - 1), len(other) - 1) :]
    )


def shuffle(query: Words, other: Words, draw: Random) -> Words:  # noqa: ARG001 (every recipe takes two queries)
    """The words of a span of up to `MOST_SHUFFLED` in another order."""
    length = min(len(query), draw.randint(2, MOST_SHUFFLED))
    start = draw.randint(0, len(query) - length)
    span = query[start : start + length]
    draw.shuffle(span)
    return query[:start] + span + query[start + length :]


def thin(query: Words, other: Words, draw: Random) -> Words:  # noqa: ARG001
    """The query without a share of its words, between the two of `SHARE_DROPPED`, but at least one; one stays."""
    dropped = min(len(query) - 1, max(1, round(draw.uniform(*SHARE_DROPPED) * len(query))))
    kept = sorted(draw.sample(range(len(query)), len(query) - dropped))
    return [query[place] for place in kept]


def swap(query: Words, other: Words, draw: Random) -> Words:
    """One word or two of the query give way to as many of the other's."""
    length = min(draw.randint(1, 2), len(query), len(other))
    start, taken = draw.randint(0, len(query) - length), draw.randint(0, len(other) - length)
    return query[:start] + other[taken : taken + length] + query[start + length :]


def substitute(near: Near, query: Words, other: Words, draw: Random) -> Words:  # noqa: ARG001
    """Each word that has near ones gives way to one of them, with a chance of `SHARE_SUBSTITUTED`."""
    return [draw.choice(near[word]) if word in near and draw.random() < SHARE_SUBSTITUTED else word for word in query]


SUBSTITUTE = "substitute"
KINDS: dict[str, Callable[[Words, Words, Random], Words]] = {
    "splice": splice,
    "shuffle": shuffle,
    "thin": thin,
    "swap": swap,
}
ALLOWED = (*KINDS, SUBSTITUTE)
RECIPE = {"splice": 0.4, "shuffle": 0.1, "thin": 0.25, "swap": 0.25}


def augment(
    texts: Sequence[str],
    number: int,
    seed: int,
    recipe: Mapping[str, float] = RECIPE,
    outside: Sequence[str] = (),
    share: float = 0.0,
    near: Near | None = None,
) -> list[str]:
    """`number` new queries, none of them among `texts` and no two alike; words are what spaces separate.

    Few short texts may give fewer. With the same texts, seed and recipe, a smaller number gives the beginning of what a
    larger one gives.

    Args:
        texts: the training queries, and nothing else.
        number: how many to make.
        seed: of the draws.
        recipe: how often each kind is taken, in any unit.
        outside: those of `texts` that are out of scope.
        share: of the new queries, made first of all of one of `outside`; the other that each kind takes is then another
            of them half of the time. Without them a share of a few per cent would be, as among `texts`, and a student
            would hardly see where the known intents end.
        near: for `substitute`: the words that can stand in for each word (intents/models/near_words.py).

    Raises:
        PipelineError: the recipe names another kind, has a negative share or no share; or no query can be made of the
            texts that is not among them.
    """
    if unknown := sorted(set(recipe) - set(ALLOWED)):
        raise PipelineError(f"the recipe names {unknown[0]!r}; allowed: {', '.join(ALLOWED)}")
    if min(recipe.values(), default=0) < 0 or sum(recipe.values()) <= 0:
        raise PipelineError(f"the recipe is {dict(recipe)}; allowed: shares of 0 or more, one at least above 0")
    draw = Random(seed)
    queries = [words for text in texts if (words := text.split())]
    strange = [words for text in outside if (words := text.split())]
    known = {" ".join(words) for words in queries}
    made: list[str] = []
    makers = KINDS | {SUBSTITUTE: partial(substitute, near or {})}
    kinds, shares = [*recipe], [*recipe.values()]
    for _ in range(TRIES * number):
        if len(made) == number or not queries:
            break
        [kind] = draw.choices(kinds, shares)
        first = others = queries
        if strange and draw.random() < share:
            first, others = strange, strange if draw.random() < 0.5 else queries
        text = " ".join(makers[kind](draw.choice(first), draw.choice(others), draw))
        if text not in known:
            known.add(text)
            made.append(text)
    if not made:
        raise PipelineError(f"{number} queries were asked for, but {len(texts)} texts give no other one")
    if len(made) < number:
        log.warning("%d queries were asked for; %d texts gave %d different ones", number, len(texts), len(made))
    return made
