"""Rewards that take memory, print, fork and ignore signals cost their own completions only."""

import time
from pathlib import Path
from typing import Any

import pytest

from g2rpo.prompt import Failed, Prompt
from g2rpo.reward.functions import FunctionsReward
from g2rpo.reward.verifier import VerifierReward
from g2rpo.reward.workers.pool import RewardPool

pytestmark = pytest.mark.process

FUNCTION = """
import os, signal, sys, time


def obeys(completion, answer, trace):
    if completion == "memory":
        return float(len(bytearray(30 * 2**30)))
    if completion == "little by little":
        kept = []
        while True:
            kept.append(bytearray(2**26))
    if completion == "print":
        print("x" * 20_000_000)
        print("x" * 20_000_000, file=sys.stderr)
    if completion == "deaf":
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(60)
    if completion == "fork":
        if os.fork() == 0:
            open(trace, "w").write(str(os.getpid()))
            time.sleep(60)
        time.sleep(60)
    if completion == "exit":
        sys.exit(0)
    return float(completion == answer)
"""
ORDERS = {
    2: ("memory", "MemoryError"),
    5: ("little by little", "MemoryError"),
    9: ("deaf", "TimeoutError: "),
    12: ("fork", "TimeoutError: "),
    15: ("exit", "WorkerDied: "),
}


def prompt(answer: str, **meta: Any) -> Prompt:
    return Prompt(
        id="p", task="t", text="?", images=(), answer=answer, answer_type="math", meta=meta
    )


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_hostile_function_costs_its_own_completion(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "theirs.py").write_text(FUNCTION)
    reward = FunctionsReward(functions=[f"{tmp_path / 'theirs.py'}:obeys"])
    asked = [prompt("4", trace=str(tmp_path / "trace")) for _ in range(20)]
    texts = [ORDERS[row][0] if row in ORDERS else "4" for row in range(20)]
    texts[17] = "print"
    pool = RewardPool(workers=2, timeout_s=4.0, failure_budget=1.0, memory_gib=0.5)
    with pool.start(reward) as pooled:
        outcomes = pooled.score_all(texts, asked)
    failed = {row: own.reason for row, own in enumerate(outcomes) if isinstance(own, Failed)}
    assert sorted(failed) == sorted(ORDERS), failed
    assert all(reason in failed[row] for row, (_, reason) in ORDERS.items()), failed
    assert [own["total"] for own in outcomes if not isinstance(own, Failed)] == [1.0] * 12 + [
        0.0,
        1.0,
        1.0,
    ]
    child = int((tmp_path / "trace").read_text())
    end_s = time.monotonic() + 5
    while alive(child) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not alive(child)
    capfd.readouterr()  # 40 MB


def test_the_rules_work_within_the_smallest_limit() -> None:
    with RewardPool(workers=1, memory_gib=0.5).start(VerifierReward()) as pooled:
        right, wrong = pooled.score_all(
            [f"<thinking>x</thinking><answer>{text}</answer>" for text in ("\\frac{1}{2}", "1/3")],
            [prompt("0.5")] * 2,
        )
    assert (right["accuracy"], wrong["accuracy"]) == (1.0, 0.0)


def test_a_limit_that_is_switched_off_is_none(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import resource\n\n\ndef limit(completion):\n"
        "    return float(resource.getrlimit(resource.RLIMIT_DATA)[0])\n"
    )
    reward = FunctionsReward(functions=[f"{tmp_path / 'theirs.py'}:limit"])
    found = []
    for memory_gib in (None, 2.0):
        with RewardPool(workers=1, memory_gib=memory_gib).start(reward) as pooled:
            found.append(pooled.score("a", prompt("b"))["total"])
    assert found == [-1.0, 2.0 * 2**30]
