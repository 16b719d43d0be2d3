"""The verdict, and the file that the report reads."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from g2rpo.training.estimate.advice import Advice
from g2rpo.training.estimate.changes import Setup
from g2rpo.training.estimate.memory import Part
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.total import GIB, Estimate, estimate, show


def of(load: Callable, device: Callable, memory: int, *parts: Part) -> Estimate:
    return Estimate(
        device=device(memory=memory),
        load=load(),
        processes=2,
        parts=list(parts),
        seconds={"prefill": 0.5, "decode": 2.0},
    )


def test_the_largest_phase_decides_and_advice_is_given_with_present_values(
    load: Callable, device: Callable
) -> None:
    parts = (
        Part(
            name="weights",
            rollout=3 * GIB,
            backward=3 * GIB,
            optimizer=3 * GIB,
        ),
        Part(name="keys", rollout=9 * GIB),
        Part(name="process", rollout=4 * GIB),
        Part(name="layers", backward=12 * GIB),
    )
    found = of(load, device, 15 * GIB, *parts)
    assert (found.peak, found.step_s) == (16 * GIB, 2.5)
    assert found.verdict() == (
        "does NOT fit: 16.00 GiB at most, in rollouts, but there are 15.00 GiB of a machine; no"
        " setting makes it fit: take a smaller model or more GPUs"
    )
    advice = [
        Advice(override="rollout.sleep=true", now="false", peak=16 * GIB - 2**29),
        Advice(override="policy.prefix=shared", now="repeated", peak=12 * GIB),
    ]
    assert replace(found, advice=advice).verdict() == (
        "does NOT fit: 16.00 GiB at most, in rollouts, but there are 15.00 GiB of a machine. Set"
        " rollout.sleep=true (now false): 15.50 GiB, then policy.prefix=shared (now repeated):"
        " 12.00 GiB"
    )
    assert (
        of(load, device, 40 * GIB, *parts).verdict()
        == "fits: 16.00 GiB at most, in rollouts, of 40.00 GiB of a machine"
    )
    assert "tight" in of(load, device, 17 * GIB, *parts).verdict()
    assert "is not known" in of(load, device, 0, *parts).verdict()


def test_the_file_has_every_part_in_gib(load: Callable, device: Callable, tmp_path: Path) -> None:
    of(load, device, GIB, Part(name="weights", rollout=GIB // 2, backward=GIB // 4)).write(
        tmp_path / "run"
    )
    found = json.loads((tmp_path / "run" / "estimate.json").read_text())
    assert found["parts_gib"] == {"weights": {"rollout": 0.5, "backward": 0.25, "optimizer": 0.0}}
    assert (found["peak_gib"], found["memory_gib"], found["step_s"], found["processes"]) == (
        0.5,
        1.0,
        2.5,
        2,
    )
    assert found["prompt_tokens"] == {"longest": 20, "mean": 10.0, "known": "as given"}


def test_the_table_has_a_row_per_part_and_ends_with_the_verdict(
    shape: Shape, load: Callable, device: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(
        shape=shape, load=load(), device=device(flops=0.0), state=16_000, copies=0, processes=1
    )
    found = estimate(setup, None, {}.__getitem__)
    show(found, Console(width=120, highlight=False))
    lines = capsys.readouterr().out.splitlines()
    assert all(any(part.name in line for line in lines) for part in found.parts)
    assert any("not known without the device" in line for line in lines)
    assert lines[-1] == found.verdict()


def test_an_engine_that_cannot_hold_the_weights_is_told_what_share_it_needs(
    load: Callable, device: Callable
) -> None:
    found = replace(
        of(load, device, 10 * GIB, Part(name="weights", rollout=GIB)), engine_needs=5 * GIB
    )
    small = replace(found, load=load(engine_frac=0.4))
    assert small.verdict() == (
        "does NOT fit: the engine needs at least 5.00 GiB for weights and one sequence, but has"
        " 4.00 GiB. Set rollout.gpu_memory_utilization=0.50 (now 0.4)"
    )
    assert replace(found, load=load(engine_frac=0.5)).verdict().startswith("fits")
    assert found.verdict().startswith("fits")
