"""Requests at the same time; the engines' tests have losses and restarts."""

import threading
import time

import pytest
from left_early import assert_left

from g2rpo.rollout.vllm_retry import ask_concurrently


def test_every_place_is_asked_once_and_so_many_at_a_time() -> None:
    asked, now, most = [], [0], [0]
    lock = threading.Lock()

    def ask(place: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
            asked.append(place)

    ask_concurrently(ask, range(3, 15), 4)
    assert sorted(asked) == list(range(3, 15))
    assert most == [4]


def test_the_first_error_is_raised_and_nothing_is_asked_after_it() -> None:
    asked = []

    def ask(place: int) -> None:
        asked.append(place)
        raise RuntimeError(f"prompt {place} is refused")

    with pytest.raises(RuntimeError, match=r"^prompt 0 is refused$"):
        ask_concurrently(ask, range(5), 1)
    assert asked == [0]


def test_a_signal_ends_the_wait_for_completions() -> None:
    silent = threading.Event()
    assert_left(lambda: ask_concurrently(lambda place: [silent.wait(60)][0] and None, [0, 1], 2))
    silent.set()
