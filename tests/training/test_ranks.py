"""A step on two processes is the step of one: same groups, advantages, gradient, memory and
numbers, written down once.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).parent / "ranks_step.py"


def start(
    checkpoint: Path, out: Path, world: int, trained: str, strategy: str
) -> list[subprocess.Popen[str]]:
    """One process per rank, as a cluster would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(checkpoint), str(out), str(world), trained, strategy],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | variables
            | ({"LOCAL_RANK": str(rank), "NODE_RANK": "0"} if world > 1 else {}),
        )
        for rank in range(world)
    ]


CASES = [
    "whole/fsdp",
    pytest.param("adapter/ddp", marks=pytest.mark.slow),
    pytest.param("whole/ddp", marks=pytest.mark.slow),
    pytest.param("adapter/fsdp", marks=pytest.mark.slow),
    pytest.param("tasks/ddp", marks=pytest.mark.slow),
]
"""Sharded weights in the fast suite; adapters, DDP, and tasks with gradients and shares of their
own in the slow one.
"""


@pytest.fixture(scope="module", params=CASES)
def outcomes(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What each process of a run with one and of a run with two processes ended with, and their
    folders.
    """
    out = tmp_path_factory.mktemp("ranks")
    trained, strategy = request.param.split("/")
    running = start(tiny_folder, out / "one", 1, trained, "ddp") + start(
        tiny_folder, out / "two", 2, trained, strategy
    )
    for process in running:
        words, _ = process.communicate(timeout=240)
        assert process.returncode == 0, words
    load = {
        "one": out / "one" / "rank0.pt",
        "first": out / "two" / "rank0.pt",
        "second": out / "two" / "rank1.pt",
    }
    return {name: torch.load(path, weights_only=False) for name, path in load.items()} | {
        "out": out,
        "by_task": trained == "tasks",
    }


def test_the_weights_are_those_of_one_process(outcomes: dict[str, Any]) -> None:
    for name, value in outcomes["one"]["weights"].items():
        assert torch.equal(outcomes["first"]["weights"][name], outcomes["second"]["weights"][name])
        torch.testing.assert_close(outcomes["first"]["weights"][name], value, atol=2e-6, rtol=1e-5)


def test_the_numbers_are_those_of_one_process_on_either_rank(outcomes: dict[str, Any]) -> None:
    one, first, second = (
        {k: v for k, v in outcomes[name]["metrics"].items() if "time/" not in k}
        for name in ("one", "first", "second")
    )
    assert first == second
    assert first == pytest.approx(one, abs=2e-5, rel=1e-5)
    assert one["gradient/norm_ratio"] > 1
    assert one["filter/draws"] == 2
    assert one["loss/entropy_band"] > 0
    if outcomes["by_task"]:
        assert len({one[f"gradient/weight/{task}"] for task in ("math", "chart", "grounding")}) == 3
        assert len({value for name, value in one.items() if "curriculum/share" in name}) == 3


def test_groups_are_spread_over_the_ranks_and_none_is_lost(outcomes: dict[str, Any]) -> None:
    counts = [outcomes[name]["groups"] for name in ("first", "second")]
    assert sum(counts) == outcomes["one"]["groups"]
    assert min(counts) > 0
    assert outcomes["one"]["counts"] == outcomes["first"]["counts"] == outcomes["second"]["counts"]


def test_the_memory_of_the_advantage_is_equal_on_all_ranks_and_that_of_one_process(
    outcomes: dict[str, Any],
) -> None:
    assert (
        outcomes["one"]["moments"]
        == outcomes["first"]["moments"]
        == outcomes["second"]["moments"]
        != {}
    )


def test_every_completion_is_written_once_in_the_order_of_the_stream(
    outcomes: dict[str, Any],
) -> None:
    rows = {
        name: [
            (row["step"], row["prompt_id"], row["completion"], round(row["advantage"], 5))
            for row in read(outcomes["out"] / name)
        ]
        for name in ("one", "two")
    }
    assert rows["one"] == rows["two"] != []


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
