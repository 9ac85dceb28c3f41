"""Timing side by side: who is asked what, how often and in which order, and the figures of the times."""

import gc
import time
from collections import Counter

import numpy as np
import pytest

from intents.timing import latency

QUERIES = [f"query {number}" for number in range(20)]
NAMES = ("teacher", "half", "labels")


class Asked:
    """Answerers that write down who was asked what, and whether the garbage collector was on."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.collecting: list[bool] = []

    def __getitem__(self, name: str) -> latency.Answerer:
        def answer(query: str) -> None:
            self.calls.append((name, query))
            self.collecting.append(gc.isenabled())

        return answer


def interleaved(queries: list[str], warmup: int, seed: int = 0) -> tuple[Asked, dict[str, np.ndarray]]:
    asked = Asked()
    return asked, latency.interleaved({name: asked[name] for name in NAMES}, queries, warmup, seed)


def test_each_turn_is_an_untimed_and_a_timed_call_of_the_same_query() -> None:
    asked, times = interleaved(QUERIES, warmup=0)
    assert {name: array.shape for name, array in times.items()} == dict.fromkeys(NAMES, (20,))
    assert asked.calls[::2] == asked.calls[1::2]
    assert Counter(asked.calls) == {(name, query): 2 for name in NAMES for query in QUERIES}


def test_what_needs_no_priming_is_called_once_a_turn() -> None:
    asked = Asked()
    batches = [QUERIES[:3], QUERIES[3:6]]
    times = latency.interleaved({name: asked[name] for name in NAMES}, batches, 1, 0, primed=False)
    assert len(asked.calls) == 3 * (1 + 2)
    assert [query for _, query in asked.calls] == [batches[0]] * 6 + [batches[1]] * 3
    assert {name: array.shape for name, array in times.items()} == dict.fromkeys(NAMES, (2,))


def test_query_by_query_all_take_their_turn_in_an_order_drawn_anew() -> None:
    asked, _ = interleaved(QUERIES, warmup=0)
    turns = asked.calls[::2]
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert [{query for _, query in turn} for turn in rounds] == [{query} for query in QUERIES]
    orders = {tuple(name for name, _ in turn) for turn in rounds}
    assert len(orders) > 3
    assert interleaved(QUERIES, warmup=0)[0].calls == asked.calls
    assert interleaved(QUERIES, warmup=0, seed=1)[0].calls != asked.calls


def test_warming_up_comes_first_and_is_not_timed() -> None:
    asked, times = interleaved(QUERIES, warmup=3)
    assert Counter(asked.calls[: 3 * 3]) == {(name, QUERIES[0]): 3 for name in NAMES}
    assert len(asked.calls) == 3 * 3 + 2 * 3 * 20
    assert len(times["half"]) == 20


def test_no_garbage_is_collected_in_between_and_it_is_afterwards_even_after_an_error() -> None:
    asked, _ = interleaved(QUERIES[:2], warmup=1)
    assert asked.collecting == [True] * 3 + [False] * 12
    assert gc.isenabled()

    def fails(_: str) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        latency.interleaved({"half": fails}, QUERIES, 0, 0)
    assert gc.isenabled()


def test_times_are_milliseconds_of_one_call() -> None:
    times = latency.interleaved({"slow": lambda _: time.sleep(0.02), "fast": lambda _: None}, QUERIES[:3], 0, 0)
    assert (times["slow"] >= 20).all()
    assert np.median(times["fast"]) < 20


def test_the_summary_is_of_the_reference_query_and_of_the_real_ones() -> None:
    reference, real = np.array([1.0, 3.0]), np.arange(101.0)
    assert latency.summary(reference, real) == {
        "time_avg_ms": 2.0,
        "time_std_ms": 1.0,
        "p50_ms": 50.0,
        "p95_ms": 95.0,
        "p99_ms": 99.0,
    }


def test_throughput_is_that_of_the_median_batch() -> None:
    assert latency.throughput(np.array([10.0, 16.0, 1000.0]), 32) == pytest.approx(2000)
