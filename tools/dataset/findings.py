"""What is wrong with a data set, or worth knowing, each with file and line."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from intents.core.errors import PipelineError
from intents.data.corpus import OUT_OF_SCOPE, normalized
from intents.data.sources import flaw
from tools.dataset.examples import Example
from tools.dataset.rasa import is_rasa_mark
from tools.dataset.splits import Splits

# How published data sets call what is out of scope; compared without case, with spaces and hyphens as underscores.
OUTSIDE = ("oos", "out_of_scope", "outofscope", "none", "nlu_fallback", "fallback", "default_fallback_intent")
FEW = 5  # texts of an intent, below which it can hardly be learnt


@dataclass
class Findings:
    """Kinds of findings, each with its lines."""

    kinds: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, lines: Iterable[str]) -> None:
        if lines := list(lines):
            self.kinds.setdefault(kind, []).extend(lines)


def cleaned(examples: Iterable[Example], findings: Findings) -> list[Example]:
    """The rows that can be trained on, without spaces around text and intent; the others are findings.

    Raises:
        PipelineError: none can.
    """
    kept: list[Example] = []
    left_out = []
    for one in examples:
        text, intent = one.text.strip(), one.intent.strip()
        reasons = [f"{what} {reason}" for what, of in (("a text", text), ("an intent", intent)) if (reason := flaw(of))]
        if reasons:
            left_out.append(f"{one.place}: {reasons[0]}")
        else:
            kept.append(one._replace(text=text, intent=intent))
    findings.add("rows left out", left_out)
    if not kept:
        raise PipelineError(
            f"none of {len(left_out)} rows has a text and an intent" + (f": {left_out[0]}" if left_out else "")
        )
    return kept


def in_scope_or_not(examples: Sequence[Example], named: str | None, findings: Findings) -> list[Example]:
    """The rows with the intent that means out of scope under the name that the pipeline gives it.

    Args:
        named: that intent; "" for none; None: the one whose name says so.

    Raises:
        PipelineError: the intent named does not occur.
    """
    intents = Counter(one.intent for one in examples)
    if named is None:
        plain = {name: name.casefold().replace(" ", "_").replace("-", "_") for name in intents}
        outside = [name for name in intents if plain[name] in OUTSIDE]
    else:
        outside = [named] if named else []
        if named and named not in intents:
            raise PipelineError(f"--out-of-scope names {named!r}, which no row has as its intent")
    if OUT_OF_SCOPE in intents and OUT_OF_SCOPE not in outside:
        raise PipelineError(f"the intent {OUT_OF_SCOPE!r} means out of scope to the pipeline; give it another name")
    findings.add(
        "taken as out of scope (--out-of-scope says otherwise)", [f"{name!r}: {intents[name]} rows" for name in outside]
    )
    return [one._replace(intent=OUT_OF_SCOPE) if one.intent in outside else one for one in examples]


def check_texts(examples: Sequence[Example], findings: Findings) -> None:
    """Duplicates, contradictions and leaks among the rows as they were read."""
    groups: dict[str, list[Example]] = defaultdict(list)
    for one in examples:
        groups[normalized(one.text)].append(one)
    repeated = [group for group in groups.values() if len(group) > 1]
    for group in repeated:
        intents = list(dict.fromkeys(one.intent for one in group))
        places = ", ".join(f"{one.place} ({one.intent})" if len(intents) > 1 else one.place for one in group)
        line = f"{group[0].text[:60]!r}: {places}"
        split = Counter(one.split for one in group)
        if len(intents) > 1:
            findings.add("contradictions: one text, several intents", [line])
        if len(split) > 1:
            findings.add("leaks: one text in several splits", [line])
        if len(group) > len({(one.intent, one.split) for one in group}):
            findings.add("duplicates", [line])
    findings.add(
        "texts with U+FFFD, which a wrong encoding leaves", [one.place for one in examples if "\ufffd" in one.text]
    )
    findings.add(
        "texts with marks of entities (--entity-marks removes them)",
        [one.place for one in examples if is_rasa_mark(one.text)],
    )


def check_intents(examples: Sequence[Example], findings: Findings) -> None:
    """Names that are nearly the same, several intents in one, groups of intents, and intents with few texts."""
    intents = Counter(one.intent for one in examples if one.intent != OUT_OF_SCOPE)
    first = {one.intent: one.place for one in reversed(examples)}
    alike: dict[str, list[str]] = defaultdict(list)
    for name in intents:
        plain = "+".join(sorted(name.casefold().replace(" ", "_").replace("-", "_").split("+")))
        alike[plain].append(f"{name!r} ({first[name]})")
    findings.add(
        "intents whose names are nearly the same", [" and ".join(names) for names in alike.values() if len(names) > 1]
    )
    several = [f"{name!r}: {count} rows, {first[name]}" for name, count in intents.items() if "+" in name]
    findings.add("several intents in one, kept as an intent of its own", several)
    groups = Counter(name.partition("/")[0] for name in intents if "/" in name)
    findings.add(
        "retrieval intents, each kept as an intent (--retrieval base makes one of each group)",
        [f"{group}/...: {count} intents" for group, count in groups.items()],
    )
    texts = Counter(intent for intent, _ in {(one.intent, normalized(one.text)) for one in examples})
    few = sorted((texts[name], name) for name in intents if texts[name] < FEW)
    findings.add(f"intents with fewer than {FEW} texts", [f"{name!r}: {count}, {first[name]}" for count, name in few])


def check_splits(splits: Splits, findings: Findings) -> None:
    """Intents that a split lacks.

    Raises:
        PipelineError: an intent has no row to train on, or there is only one.
    """
    known = {one.intent for one in splits["train"]} | {OUT_OF_SCOPE}
    for split, rows in splits.items():
        if unseen := [one for one in rows if one.intent not in known]:
            raise PipelineError(f"{unseen[0].place}: intent {unseen[0].intent[:60]!r} is in {split}, but not in train")
    intents = known - {OUT_OF_SCOPE}
    if len(intents) < 2:
        raise PipelineError(f"there is 1 intent in scope, {min(intents, default='none')!r}; allowed: two or more")
    for split in ("validation", "test"):
        absent = sorted(intents - {one.intent for one in splits[split]})
        findings.add(f"intents without a row in {split}", [repr(name) for name in absent])
