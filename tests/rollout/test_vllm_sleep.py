"""Sleeping and waking with a stand-in for the GPU: how much memory is free is what the test
says.
"""

from typing import Any

import pytest
import torch

from g2rpo.rollout.vllm_sleep import GIB, Sleeper, explain_out_of_memory

WEIGHTS = GIB // 2
"""Bytes of the engine's weights."""


class Engine:
    """Gives `freed` bytes back when it sleeps, and fails to wake as the test wants."""

    def __init__(self, memory: dict[str, int], freed: int, error: Exception | None = None) -> None:
        self.memory, self.freed, self.error = memory, freed, error
        self.calls: list[Any] = []

    def sleep(self, level: int) -> None:
        self.calls.append(("sleep", level))
        self.memory["free"] += self.freed

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(("wake", *tags))
        if self.error:
            raise self.error


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    found = {"free": 3 * GIB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (found["free"], 80 * GIB))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return found


def sleeper(engine: Engine, device: str = "cuda") -> Sleeper:
    return Sleeper(engine, device=torch.device(device), weight_bytes=WEIGHTS)


def test_what_came_free_is_measured_and_weights_come_back_before_the_cache(
    memory: dict[str, int],
) -> None:
    engine = Engine(memory, freed=10 * GIB)
    sleeping = sleeper(engine)
    assert sleeping.sleep() == {"rollout/freed_gib": 10.0}
    assert sleeping.sleep() == {}  # it sleeps already
    with sleeping.waking():
        engine.calls.append("weights pushed")
    assert engine.calls == [
        ("sleep", 2),
        ("wake", "weights"),
        "weights pushed",
        ("wake", "kv_cache"),
    ]
    assert not sleeping.asleep


def test_an_engine_that_keeps_its_memory_stops_the_run(memory: dict[str, int]) -> None:
    with pytest.raises(
        RuntimeError,
        match=(
            r"rollout\.sleep: the sleeping engine freed 0\.25 GiB, expected at least its weights,"
            r" 0\.50 GiB"
        ),
    ):
        sleeper(Engine(memory, freed=GIB // 4)).sleep()


def test_no_room_to_wake_up_is_said_with_how_much_and_what_to_lower(memory: dict[str, int]) -> None:
    sleeping = sleeper(
        Engine(memory, freed=10 * GIB, error=torch.OutOfMemoryError("CUDA out of memory"))
    )
    sleeping.sleep()
    memory["free"] = 2 * GIB
    with (
        pytest.raises(
            RuntimeError,
            match=(
                r"wants 10\.00 GiB back to wake up, and 2\.00 GiB .*Lower"
                r" rollout\.gpu_memory_utilization, .*micro_batch_prompts"
            ),
        ),
        sleeping.waking(),
    ):
        pytest.fail("there is no engine to push weights to")


def test_on_a_cpu_nothing_sleeps(memory: dict[str, int]) -> None:
    engine = Engine(memory, freed=GIB)
    sleeping = sleeper(engine, "cpu")
    assert sleeping.sleep() == {}
    with sleeping.waking():
        pass
    assert engine.calls == []


def test_an_engine_over_two_gpus_frees_half_its_weights_on_each(memory: dict[str, int]) -> None:
    engine = Engine(memory, freed=GIB // 4)
    assert Sleeper(
        engine, device=torch.device("cuda"), weight_bytes=WEIGHTS, num_devices=2
    ).sleep() == {"rollout/freed_gib": 0.25}


def test_no_room_to_start_is_said_with_how_much_and_what_to_lower(memory: dict[str, int]) -> None:
    gpu = torch.device("cuda")
    with (
        pytest.raises(
            RuntimeError,
            match=(
                r"wants 32\.00 GiB of the GPU to start \(rollout\.gpu_memory_utilization=0\.4\),"
                r" and 3\.00 GiB are free\. Lower"
            ),
        ),
        explain_out_of_memory(gpu, 0.4),
    ):
        raise ValueError("Free memory on device is less than desired")
    memory["free"] = 40 * GIB
    with pytest.raises(ValueError, match=r"^another reason$"), explain_out_of_memory(gpu, 0.4):
        raise ValueError("another reason")
    with pytest.raises(RuntimeError, match=r"wants 32\.00 GiB"), explain_out_of_memory(gpu, 0.4):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_an_engine_that_gets_only_adapters_keeps_its_weights_in_the_memory_of_the_machine(
    memory: dict[str, int],
) -> None:
    engine = Engine(memory, freed=GIB)
    Sleeper(engine, device=torch.device("cuda"), weight_bytes=WEIGHTS, keeps_weights=True).sleep()
    assert engine.calls == [("sleep", 1)]
