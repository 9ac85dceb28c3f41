"""The report's section on wrong answers: pictures that can be read, tables that can be trusted."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from intents.evaluation import selective
from intents.evaluation.answers import Answers
from intents.evaluation.threshold import calibrate, expected_accuracy
from intents.reports import confusion, mistakes
from intents.reports.style import STYLE

TEACHER, BEST = "teacher", "half-structured-ort-static"


def answers(intents: int, each: int = 20, outside: int = 100, noise: float = 1.6, name: str = BEST) -> Answers:
    """A made-up variant: logits that are mostly right, of `each` queries an intent and `outside` out of scope."""
    draw = np.random.default_rng(len(name))
    labels = np.r_[np.repeat(np.arange(intents), each), np.full(outside, intents)]
    logits = {}
    for split in ("validation", "test"):
        logits[split] = noise * draw.normal(size=(len(labels), intents + 1)) + 1
        logits[split][np.arange(len(labels)), labels] += np.where(labels == intents, 1, 9)
    threshold = calibrate(logits["validation"], labels, 0.2) if outside else -100.0
    names = [f"quite_a_lengthy_intent_{number:03}" for number in range(intents)]
    both = dict.fromkeys(("validation", "test"), labels)
    return Answers(name, logits, both, [*names, "oos"], threshold, 1.3)


def pair(intents: int, **options: float) -> dict[str, Answers]:
    return {name: answers(intents, name=name, **options) for name in (TEACHER, BEST)}  # type: ignore[arg-type]


def texts_that_overlap(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of labels, titles and numbers of a picture that cover each other, or leave it."""
    figure.canvas.draw()
    boxes = []
    for axes in figure.axes:
        # As matplotlib draws them: ticks beyond the limits are there too, but not to be seen.
        ticks = [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
        titles = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts = [text for text in (*ticks, *titles, *axes.texts) if text.get_text() and text.get_visible()]
        boxes += [(text.get_text(), text.get_window_extent()) for text in texts]
        for child in axes.child_axes:
            boxes += [
                (text.get_text(), text.get_window_extent()) for text in child.get_yticklabels() if text.get_text()
            ]
    whole = figure.bbox
    outside = [(text, "the edge") for text, box in boxes if box.x0 < -1 or box.x1 > whole.x1 + 1 or box.y0 < -1]
    return outside + [
        (a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.shrunk(0.95, 0.95).overlaps(other)
    ]


@pytest.mark.parametrize("intents", [2, 12, 150])
def test_no_label_of_a_picture_covers_another(intents: int) -> None:
    with plt.style.context(STYLE):
        drawn = mistakes.figures(pair(intents, noise=3.0), BEST)
        assert set(drawn) == {"reliability", "coverage", "intents", "confusions"}
        assert {name: texts_that_overlap(figure) for name, figure in drawn.items()} == {name: [] for name in drawn}


def test_the_picture_shows_the_worst_intents_the_worst_on_top_with_what_they_are_taken_for() -> None:
    both = pair(40)
    axes = mistakes.figures(both, BEST)["intents"].axes[0]
    table = both[BEST].per_intent("validation")
    lowest = table[table["f1"] < 1].sort_values("f1", kind="stable").index[: confusion.SHOWN]
    assert len(lowest) > 5
    assert [label.get_text() for label in axes.get_yticklabels()][::-1] == [confusion.spelled(name) for name in lowest]
    top = table.loc[lowest[0]]
    said = [label.get_text() for label in axes.child_axes[0].get_yticklabels()][-1]
    assert said == f"{confusion.spelled(top['confused_with'])} ({top['confused']} of {top['support']})"


def test_a_name_is_spelled_for_people_and_cut_where_it_is_too_long() -> None:
    assert confusion.spelled("oos") == "out of scope"
    assert confusion.spelled("card_lost") == "card lost"
    assert len(confusion.spelled("x" * 100)) == 32


def test_without_a_mistake_there_is_no_picture_of_mistakes() -> None:
    both = pair(5, noise=0.0)
    assert set(mistakes.figures(both, BEST)) == {"reliability", "coverage"}
    section = mistakes.section(both[BEST], 0.2)
    assert (section.wrong, section.queries) == (0, 200)


@pytest.mark.parametrize("intents", [2, 30])
def test_without_out_of_scope_queries_all_else_is_there(intents: int) -> None:
    both = pair(intents, outside=0, noise=4.0)
    assert set(mistakes.figures(both, BEST)) == {"reliability", "coverage", "intents", "confusions"}
    section = mistakes.section(both[BEST], 0.2)
    assert section.wrong > 0
    assert "| `oos` |" not in section.intents
    assert "nan" not in "".join(str(part) for part in section)


def test_an_intent_that_a_split_lacks_leaves_its_cells_empty() -> None:
    found = answers(12)
    kept = {"validation": found.labels["validation"] != 3, "test": found.labels["test"] != 4}
    less = Answers(
        *(BEST, {split: found.logits[split][rows] for split, rows in kept.items()}),
        *({split: found.labels[split][rows] for split, rows in kept.items()}, found.names, found.threshold, 1.3),
    )
    assert set(mistakes.figures({BEST: less}, BEST)) == {"reliability", "coverage", "intents", "confusions"}
    assert "nan" not in mistakes.section(less, 0.2).intents


def test_all_and_what_the_rule_lets_through_are_rows_at_the_expected_rate() -> None:
    one = answers(30)
    labels, oos = one.labels["validation"], 30
    everything, ruled, *sure = mistakes.answering(one, 0.2)
    likeliest = one.logits["validation"][:, :-1].argmax(axis=1)
    assert everything.validation == pytest.approx((1.0, 1 - expected_accuracy(likeliest, labels, oos, 0.2)))
    given = one.given("test")
    answered = given != oos
    assert ruled.test == pytest.approx((answered.mean(), (given != one.labels["test"])[answered].mean()))
    assert [row.validation[1] <= risk for row, risk in zip(sure, mistakes.RISKS, strict=True)] == [True] * 3
    assert [row.validation[0] for row in sure] == sorted(row.validation[0] for row in sure)


def test_thresholds_are_found_on_validation_alone() -> None:
    one = answers(30)
    other = Answers(
        *(BEST, one.logits | {"test": -one.logits["test"]}, one.labels, one.names, one.threshold, one.temperature)
    )
    assert [row.threshold for row in mistakes.answering(one, 0.2)] == [
        row.threshold for row in mistakes.answering(other, 0.2)
    ]


def test_a_risk_that_cannot_be_kept_to_answers_nothing() -> None:
    one = answers(10)
    swapped = Answers(  # all answers are wrong: each intent is the next one's
        *(BEST, one.logits, {split: (labels + 1) % 10 for split, labels in one.labels.items()}),
        *(one.names, one.threshold, 1.0),
    )
    row = mistakes.answering(swapped, 0.2)[2]
    assert (row.threshold, row.validation[0], row.test[0]) == (None, 0.0, 0.0)
    assert (
        "| the surest, of which 1 % may be wrong |  | 0.0 % |  | 0.0 % |  |" in mistakes.section(swapped, 0.2).answering
    )


def test_the_curve_of_the_picture_is_that_of_the_test_queries() -> None:
    both = pair(30)
    line = mistakes.figures(both, BEST)["coverage"].axes[0].lines[1]
    curve = selective.risk_by_coverage(*both[BEST].surest("test"))
    assert np.asarray(line.get_xdata()).tolist() == curve["coverage"].tolist()
    assert np.asarray(line.get_ydata()).tolist() == curve["risk"].tolist()


def test_a_pipe_in_a_name_does_not_end_a_cell() -> None:
    assert confusion.code("a|b") == r"`a\|b`"
