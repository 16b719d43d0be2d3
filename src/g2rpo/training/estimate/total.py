"""The estimate of a whole run: memory by part and phase, seconds, and whether it fits."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from g2rpo.files import write_whole
from g2rpo.training.estimate.advice import Advice, advise
from g2rpo.training.estimate.changes import Now, Setup
from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.memory import PHASES, Part, parts_of, totals
from g2rpo.training.estimate.seconds import seconds_of
from g2rpo.training.estimate.workload import Workload

FILE = "estimate.json"
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimate for one process."""

    device: Machine
    load: Workload
    processes: int
    parts: list[Part]
    seconds: Mapping[str, float]
    """Seconds of each stage; empty if the speed of the device is not known."""
    advice: Sequence[Advice] = ()
    """What makes the run fit, if it does not."""
    engine_needs: int = 0
    """Bytes that an engine on this device needs at least."""
    checkpoint_bytes: int = 0
    """Size of a checkpoint with the full training state on the disk."""
    export_bytes: int = 0
    """Size of a folder with the weights alone on the disk."""

    @property
    def peaks(self) -> dict[str, int]:
        """Bytes of each phase."""
        return totals(self.parts)

    @property
    def peak(self) -> int:
        """Bytes of the largest phase."""
        return max(self.peaks.values())

    @property
    def step_s(self) -> float | None:
        """Seconds of a whole step."""
        return sum(self.seconds.values()) if self.seconds else None

    def as_json(self) -> dict[str, Any]:
        """Return the contents of `estimate.json`, with sizes in GiB."""
        return {
            "device": self.device.name,
            "processes": self.processes,
            "memory_gib": self.device.memory / GIB if self.device.memory else None,
            "peak_gib": self.peak / GIB,
            "phases_gib": {phase: size / GIB for phase, size in self.peaks.items()},
            "parts_gib": {
                part.name: {phase: getattr(part, phase) / GIB for phase in PHASES}
                for part in self.parts
            },
            "step_s": self.step_s,
            "stages_s": dict(self.seconds),
            "prompt_tokens": {
                "longest": self.load.lengths.longest,
                "mean": self.load.lengths.mean,
                "known": self.load.lengths.origin,
            },
            "completion_tokens": self.load.completion,
            "advice": [step.override for step in self.advice],
        }

    def write(self, folder: Path) -> None:
        """Write `estimate.json` atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, json.dumps(self.as_json(), indent=2) + "\n")

    def verdict(self) -> str:
        """Say in a sentence whether the run fits and, if not, what to set."""
        phase = max(self.peaks, key=lambda name: self.peaks[name])
        needed = f"{_gib(self.peak)} GiB at most, in {_place(phase)}"
        if not self.device.memory:
            return (
                f"needs {needed}; the memory of {self.device.name} is not known: estimate.gib=80"
                " compares"
            )
        room = f"{_gib(self.device.memory)} GiB of {self.device.name}"
        share = round(self.load.engine_frac * self.device.memory)
        if share and self.peak <= self.device.memory and share < self.engine_needs:
            least = math.ceil(20 * self.engine_needs / self.device.memory) / 20
            return (
                f"does NOT fit: the engine needs at least {_gib(self.engine_needs)} GiB for weights"
                f" and one sequence, but has {_gib(share)} GiB. Set"
                f" rollout.gpu_memory_utilization={least:.2f} (now {self.load.engine_frac})"
            )
        if self.peak <= self.device.memory:
            tight = (
                " (tight: fragmentation is not counted)"
                if self.peak > 0.9 * self.device.memory
                else ""
            )
            return f"fits: {needed}, of {room}{tight}"
        steps = ", then ".join(
            f"{step.override} (now {step.now}): {_gib(step.peak)} GiB" for step in self.advice
        )
        enough = bool(self.advice) and self.advice[-1].peak <= self.device.memory
        end = "" if enough else "; no setting makes it fit: take a smaller model or more GPUs"
        return (
            f"does NOT fit: {needed}, but there are {room}"
            + (f". Set {steps}" if steps else "")
            + end
        )


def estimate(setup: Setup, completion: float | None, now: Now) -> Estimate:
    """Estimate memory and seconds.

    Args:
        setup: Sizes of the model, work of a process in a step, its device, its optimizer.
        completion: Mean tokens of a completion, for seconds; None assumes the longest.
        now: Returns the present value of a key, for advice.
    """
    shape, load, device = setup.shape, setup.load, setup.device
    return Estimate(
        device=device,
        load=load,
        processes=setup.processes,
        parts=parts_of(shape, load, device, setup.state, setup.copies),
        seconds=seconds_of(shape, load, device, setup.state, completion),
        advice=advise(setup, now),
        engine_needs=load.engine_needs(shape),
        checkpoint_bytes=(shape.adapter or shape.weights * shape.number) + setup.state,
        export_bytes=shape.weights * shape.compute,
    )


def show(found: Estimate, console: Console) -> None:
    """Print memory by part and phase, the assumptions, seconds, and whether the run fits."""
    several = f", one of {found.processes}" if found.processes > 1 else ""
    table = Table(
        title=f"Memory of a process{several}, GiB", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("part", no_wrap=True)
    for phase in PHASES:
        table.add_column(phase, justify="right", no_wrap=True)
    for part in found.parts:
        table.add_row(part.name, *(_gib(getattr(part, phase)) for phase in PHASES))
    table.add_section()
    table.add_row("sum", *(_gib(found.peaks[phase]) for phase in PHASES), style="bold")
    console.print(table)
    load, lengths = found.load, found.load.lengths
    console.print(
        f"a step of a process: {load.prompts} prompts x {load.group_size} completions of"
        f" {load.completion} tokens, {load.updates} update(s), {load.micro_batch_prompts} prompt(s)"
        f" with {load.row_completions} completions each in a forward pass of {load.tokens} tokens"
    )
    console.print(
        f"prompts: {lengths.longest} tokens at most, {lengths.mean:.0f} on average,"
        f" {lengths.most_patches} image patches at most ({lengths.origin})"
    )
    if found.seconds:
        stages = ", ".join(
            f"{name} {_seconds(value)}" for name, value in found.seconds.items() if value
        )
        console.print(
            f"seconds per step: {_seconds(found.step_s or 0.0)} ({stages}); one draw, rewards not"
            " counted"
        )
    else:
        console.print(
            "seconds per step: not known without the device; 'estimate.gib=80 estimate.tflops=989"
            " estimate.gb_per_s=3350' describes one"
        )
    console.print(found.verdict())


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}" if size < 100 * GIB else f"{size / GIB:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def _place(phase: str) -> str:
    return {"rollout": "rollouts", "backward": "a backward pass", "optimizer": "an optimizer step"}[
        phase
    ]
