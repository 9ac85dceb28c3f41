"""augment: what its queries are made of, and that they are the same anywhere."""

from collections import Counter
from random import Random

import pytest

from intents.core.errors import PipelineError
from intents.data import augment as module
from intents.data.augment import KINDS, RECIPE, augment

TEXTS = [
    "what is my account balance today",
    "book a flight from boston to denver please",
    "how do you say thank you in spanish",
    "set an alarm for seven in the morning",
    "hello",
]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_queries_hold_words_of_the_texts_alone_and_none_is_a_text(kind: str) -> None:
    made = augment(TEXTS, 40, seed=0, recipe={kind: 1.0})
    assert len(made) == len(set(made)) == 40
    assert not set(made) & set(TEXTS)
    assert {word for query in made for word in query.split()} <= {word for text in TEXTS for word in text.split()}


def test_the_same_seed_gives_the_same_queries_and_a_smaller_number_their_beginning() -> None:
    made = augment(TEXTS, 60, seed=3)
    assert augment(TEXTS, 60, seed=3) == made
    assert augment(TEXTS, 20, seed=3) == made[:20]
    assert augment(TEXTS, 60, seed=4) != made


@pytest.mark.parametrize("query", ["one", "one two", "one two three four five six seven eight"])
@pytest.mark.parametrize("other", ["a", "a b c d e f"])
def test_each_kind_does_what_it_says_with_queries_of_any_length(query: str, other: str) -> None:
    words, taken = query.split(), other.split()
    for seed in range(50):
        draw = Random(seed)
        spliced = module.splice(words, taken, draw)
        cut = next(place for place, word in enumerate(spliced) if word in taken)
        assert cut >= 1
        assert spliced[:cut] == words[:cut]
        assert spliced[cut:] == taken[len(taken) - len(spliced) + cut :]
        assert Counter(module.shuffle(words, taken, draw)) == Counter(words)
        thinned = module.thin(words, taken, draw)
        assert 1 <= len(thinned) <= max(1, len(words) - 1)
        assert thinned == [word for word in words if word in thinned]
        swapped = module.swap(words, taken, draw)
        assert len(swapped) == len(words)
        assert 1 <= len(set(swapped) & set(taken)) <= 2


def test_a_share_is_made_of_out_of_scope_queries_first_of_all() -> None:
    outside = [f"o{number} p{number} q{number}" for number in range(20)]
    texts = [f"a{number} b{number} c{number}" for number in range(20)] + outside
    spliced = augment(texts, 400, seed=0, recipe={"splice": 1.0}, outside=outside, share=0.7)
    begun = [query[0] == "o" for query in spliced]
    assert 0.75 < sum(begun) / 400 < 0.95  # 0.7, and half of the others by chance
    ended = [query.split()[-1][0] == "q" for query, strange in zip(spliced, begun, strict=True) if strange]
    assert 0.6 < sum(ended) / len(ended) < 0.85  # half of them, and half of the others by chance
    assert augment(texts, 50, seed=0, outside=[], share=0.7) == augment(texts, 50, seed=0)


def test_the_recipe_says_how_often_each_kind_is_taken() -> None:
    made = augment(TEXTS, 30, seed=0, recipe={"thin": 1.0, "splice": 0.0})
    assert all(any(Counter(query.split()) < Counter(text.split()) for text in TEXTS) for query in made)
    assert sum(RECIPE.values()) == pytest.approx(1)


def test_substitutes_are_near_words_in_their_places_and_other_words_stay() -> None:
    near = {"alarm": ["bell", "timer", "clock"], "seven": ["eight"], "morning": ["evening"]}
    made = augment(TEXTS, 8, seed=0, recipe={"substitute": 1.0}, near=near)
    words = TEXTS[3].split()
    for query in made:
        assert len(query.split()) == len(words)
        assert all(new == old or new in near[old] for new, old in zip(query.split(), words, strict=True))
    assert len(set(made)) == 8  # of 4 · 2 · 2 - 1


def test_a_share_of_the_words_is_substituted() -> None:
    near = {"a": ["b"]}
    words = module.substitute(near, ["a"] * 10_000, [], Random(0))
    assert words.count("b") / 10_000 == pytest.approx(module.SHARE_SUBSTITUTED, abs=0.02)


def test_without_near_words_nothing_can_be_substituted() -> None:
    with pytest.raises(PipelineError, match="give no other one"):
        augment(TEXTS, 10, seed=0, recipe={"substitute": 1.0})


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"translate": 1.0}, "the recipe names 'translate'; allowed: splice, shuffle, thin, swap, substitute"),
        ({"thin": -1.0, "splice": 2.0}, "allowed: shares of 0 or more"),
        ({"thin": 0.0}, "one at least above 0"),
        ({}, "one at least above 0"),
    ],
)
def test_a_wrong_recipe_is_refused(recipe: dict[str, float], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        augment(TEXTS, 10, seed=0, recipe=recipe)


@pytest.mark.parametrize("texts", [["word"], []])
def test_texts_that_give_no_other_query_are_refused(texts: list[str]) -> None:
    with pytest.raises(PipelineError, match=rf"10 queries were asked for, but {len(texts)} texts give no other one"):
        augment(texts, 10, seed=0, recipe={"thin": 1.0})


def test_few_short_texts_give_as_many_as_they_can_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    made = augment(["two words"], 10, seed=0, recipe={"thin": 1.0})
    assert sorted(made) == ["two", "words"]
    assert caplog.messages == ["10 queries were asked for; 1 texts gave 2 different ones"]
