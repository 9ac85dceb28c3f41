"""The splits that are missing: stratified by intent, seeded, and no text in two of them."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from intents.core.errors import PipelineError
from intents.data.corpus import JUDGED, OUT_OF_SCOPE, SPLITS, normalized
from tools.dataset.examples import Example

Splits = dict[str, list[Example]]


def make(examples: Sequence[Example], shares: Mapping[str, float], seed: int) -> Splits:
    """The examples by split. Splits that are given stay as they are; missing ones are taken from the rest.

    A text that stands twice in the rest is kept once. One that has two intents stays in training, since nobody could
    answer it rightly; so does one that a given split has too. Of an intent with three texts or more, each made split
    gets one at least; an intent with one is only trained on. (scikit-learn's stratified splits refuse such intents.)

    Args:
        shares: of the rest, that validation and test get where they are missing.

    Raises:
        PipelineError: there is nothing to train on, or too little to make the splits of.
    """
    given: Splits = {split: [one for one in examples if one.split == split] for split in SPLITS}
    missing = [split for split in JUDGED if not any(one.intent != OUT_OF_SCOPE for one in given[split])]
    rest = [one for one in examples if one.split is None] + given["train"]
    if not rest:
        raise PipelineError("there are no rows to train on: all are of validation or test")
    if not missing:
        return given | {"train": rest}
    held = {normalized(one.text) for split in JUDGED for one in given[split]}
    groups: dict[str, dict[str, Example]] = defaultdict(dict)
    for one in rest:
        groups[normalized(one.text)].setdefault(one.intent, one)
    found: Splits = given | {"train": []}
    to_share: dict[str, list[Example]] = defaultdict(list)
    for text, by_intent in sorted(groups.items()):
        if len(by_intent) > 1 or text in held:
            found["train"] += by_intent.values()
        else:
            [(intent, one)] = by_intent.items()
            to_share[intent].append(one)
    sizes = Counter(dict.fromkeys(missing, 0))
    for intent, ours in sorted(to_share.items()):
        random.Random(f"{seed} {intent}").shuffle(ours)
        counts = _counts(len(ours), {split: shares[split] for split in missing}, sizes)
        for split, count in counts.items():
            found[split] += ours[:count]
            del ours[:count]
        found["train"] += ours
        if intent != OUT_OF_SCOPE:
            sizes.update(counts)
    if empty := [split for split in missing if not sizes[split]]:
        raise PipelineError(
            f"{len(rest)} rows of {len({one.intent for one in rest})} intents are too few to take {empty[0]} from: "
            "an intent must have 3 different texts or more"
        )
    return found


def _counts(number: int, shares: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """How many of an intent's texts each split gets; training gets the others, one at least.

    Args:
        sizes: what the splits have already: the second of two texts goes to the smallest.
    """
    if number <= len(shares):
        smallest = min(shares, key=lambda split: sizes[split])
        return {smallest: 1} if number > 1 else {}
    counts = {split: max(1, round(share * number)) for split, share in shares.items()}
    while sum(counts.values()) >= number:
        counts[max(counts, key=lambda split: counts[split])] -= 1
    return counts
