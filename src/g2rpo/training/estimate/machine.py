"""What the device can hold and do: looked up, or measured in a fraction of a second. Random states
are left alone.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from g2rpo.training.estimate.assumptions import Assumptions

GPU_EFFICIENCY, CPU_EFFICIENCY = 0.4, 0.7
"""Share of a large matrix product's speed that passes through a model reach: on CPUs by
`perf/estimate.py`, on GPUs a usual figure.
"""
GPU_LAYER_S, CPU_LAYER_S = 5e-4, 1.2e-3
"""Seconds of Python and of small kernels for a layer, however little there is to compute; on GPUs
not measured yet.
"""
SIZE = {"cuda": 4096, "cpu": 512}
MEASURE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One device, as one process sees it."""

    name: str
    memory: int
    """Bytes; 0 where it is not known."""
    baseline: int
    """Bytes that the process holds before the model is loaded; counted on a CPU, where measured
    memory holds them too.
    """
    flops: float
    """Floating-point operations a second that passes reach."""
    bandwidth: float
    """Bytes a second."""
    layer_s: float
    piece: int
    """Bytes of float32 logits that the head computes at a time."""
    copies: bool
    """Optimizers work on all weights at once (`foreach`) unless told otherwise."""


def machine(
    assumed: Assumptions,
    dtype: torch.dtype,
    pieces: Callable[[str], int],
    *,
    processes: int = 1,
    cpu: bool = False,
) -> Machine:
    """The device of this process, or the one that is assumed: numbers that are given are not
    measured.

    Args:
        assumed: May name memory and speed. Memory without a GPU at hand is that of a GPU elsewhere.
        dtype: Of the model.
        pieces: Bytes of the head's pieces on a kind of device.
        processes: On this machine; on a CPU they share it.
        cpu: Leaves a GPU alone.
    """
    here = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    kind = "cuda" if here == "cuda" or assumed.gib is not None else "cpu"
    measured = here == kind
    device = torch.device(here)
    if kind == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory if measured else 0
        name = torch.cuda.get_device_name(0) if measured else "a GPU as given"
    else:
        memory, name = (
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // processes,
            f"CPU, {torch.get_num_threads()} thread(s)",
        )
    efficiency = assumed.efficiency or (GPU_EFFICIENCY if kind == "cuda" else CPU_EFFICIENCY)
    flops = (
        assumed.tflops * 1e12
        if assumed.tflops
        else matmul_flops(device, dtype)
        if measured
        else 0.0
    )
    bandwidth = (
        assumed.gb_per_s * 1e9 if assumed.gb_per_s else read_bandwidth(device) if measured else 0.0
    )
    return Machine(
        name=name,
        memory=memory if assumed.gib is None else round(assumed.gib * 2**30),
        baseline=0 if kind == "cuda" else resident(),
        flops=flops * efficiency,
        bandwidth=bandwidth,
        layer_s=GPU_LAYER_S if kind == "cuda" else CPU_LAYER_S,
        piece=pieces(kind),
        copies=kind == "cuda",
    )


def matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a square matrix product."""
    n = SIZE[device.type]
    a, b = (torch.ones(n, n, dtype=dtype, device=device) for _ in range(2))
    return 2.0 * n**3 / _seconds(lambda: a @ b, device)


def read_bandwidth(device: torch.device) -> float:
    """Bytes/s of a matrix too large for any cache, times a vector."""
    a = torch.ones(8192, 8192 if device.type == "cuda" else 2048, device=device)
    v = torch.ones(a.shape[1], device=device)
    return a.numel() * 4 / _seconds(lambda: a @ v, device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of the fastest of some runs. On a CPU by this thread's own clock, which stands still while
    others have the machine.
    """
    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    found, end = [], time.perf_counter() + MEASURE_S
    while len(found) < 3 or time.perf_counter() < end:
        start = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(clock() - start)
    return min(found)


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory that this process holds, or (`VmHWM`) has held at most; 0 where the kernel is
    not Linux.
    """
    status = Path("/proc/self/status")
    lines = (
        [line for line in status.read_text().splitlines() if line.startswith(field)]
        if status.exists()
        else []
    )
    return int(lines[0].split()[1]) * 1024 if lines else 0


def peak_bytes() -> int:
    """The most that this process has held: what torch allocated on a GPU, else resident memory."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resident("VmHWM")
