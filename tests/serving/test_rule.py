"""The out-of-scope rule: the score, what it decides, and the file that holds it."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from intents.core.errors import PipelineError
from intents.serving import rule
from intents.serving.rule import Rule

RULE = Rule(["alarm", "music", "oos"], threshold=1.25, rate=0.2, temperature=1.5)


def test_a_query_is_out_of_scope_by_arg_max_or_under_the_threshold() -> None:
    logits = np.array([[5.0, 0.0, 1.0], [0.0, 0.1, 3.0], [0.1, 0.0, 0.0]])
    score = np.log(np.exp(logits[:, :2]).sum(axis=1))
    assert rule.scores(logits) == pytest.approx(score)
    assert rule.decide(logits, -10.0).tolist() == [0, 2, 0]
    assert rule.decide(logits, (score[0] + score[2]) / 2).tolist() == [0, 2, 2]


def test_a_score_at_the_threshold_is_in_scope() -> None:
    logits = np.array([[0.5, 0.25, 0.0]])
    (score,) = rule.scores(logits)
    assert rule.decide(logits, score).tolist() == [0]
    assert rule.decide(logits, np.nextafter(score, np.inf)).tolist() == [2]


def test_scores_of_large_logits_do_not_overflow() -> None:
    logits = np.array([[1000.0, 1000.0, 0.0], [-1000.0, -1000.0, 0.0]], np.float32)
    assert rule.scores(logits) == pytest.approx([1000 + np.log(2), -1000 + np.log(2)])
    assert rule.scores(logits).dtype == np.float64


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_one_query_is_judged_as_many_are(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(scale=5.0, size=(200, 12)).astype(np.float32)
    logits[:3] = [[900.0] * 12, [-900.0] * 12, [2.0] * 11 + [2.0000002]]  # extremes, a tie, and nearly one
    threshold = float(np.median(rule.scores(logits)))
    for row, score, label in zip(logits, rule.scores(logits), rule.decide(logits, threshold), strict=True):
        judged = rule.judge(row, threshold, temperature)
        odds = special.softmax(row.astype(np.float64) / temperature)
        assert judged.best == row[:-1].argmax()
        assert judged.out_of_scope == (label == 11)
        assert judged.score == pytest.approx(score, rel=1e-12)
        assert 1 / judged.total == pytest.approx(odds[judged.best], rel=1e-9)


def test_a_rule_is_saved_and_read_back(tmp_path: Path) -> None:
    RULE.save(tmp_path)
    assert json.loads((tmp_path / "classifier.json").read_text()) == {
        "intents": ["alarm", "music", "oos"],
        "threshold": 1.25,
        "rate": 0.2,
        "temperature": 1.5,
    }
    assert Rule.load(tmp_path, "make it") == RULE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no rule; it needs the keys intents, threshold, rate, temperature"),
        ('{"intents": ["a"], "rate": 0.2}', "is no rule; it needs the keys intents, threshold, rate, temperature"),
    ],
)
def test_a_file_that_is_no_rule_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "classifier.json").write_text(content)
    with pytest.raises(PipelineError, match=f"classifier.json {message}.*; `make it` makes it again"):
        Rule.load(tmp_path, "make it")


def test_without_a_rule_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"classifier\.json not found; run `make it`"):
        Rule.load(tmp_path, "make it")


def test_a_rule_may_be_for_no_stated_share(tmp_path: Path) -> None:
    rule = RULE._replace(rate=None)  # calibrated on queries in scope alone
    rule.save(tmp_path)
    assert Rule.load(tmp_path, "make it") == rule
