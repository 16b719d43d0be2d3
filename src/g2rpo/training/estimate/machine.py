"""Memory and speed of the device, looked up or measured in a fraction of a second.

Measuring does not change random states.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from g2rpo.stopwatch import resident
from g2rpo.training.estimate.assumptions import Assumptions

GPU_EFFICIENCY, CPU_EFFICIENCY = 0.4, 0.7
"""Share of the speed of a large matrix product that passes through a model reach: measured on CPUs
by `perf/estimate.py`, a usual figure on GPUs.
"""
GPU_LAYER_S, CPU_LAYER_S = 5e-4, 1.2e-3
"""Fixed overhead of a layer in seconds (Python, small kernels); not measured on GPUs yet."""
SIZE = {"cuda": 4096, "cpu": 512}
MEASURE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device of one process."""

    name: str
    memory: int
    """Memory in bytes; 0 if it is not known."""
    baseline: int
    """Bytes that the process uses before the model is loaded; 0 on a GPU."""
    flops: float
    """FLOP/s that passes through a model reach; 0 if it is not known."""
    bandwidth: float
    """Memory bandwidth in bytes/s; 0 if it is not known."""
    layer_s: float
    """Fixed overhead of a layer in seconds."""
    piece: int
    """Chunk size of the head in bytes of float32 logits."""
    copies: bool
    """Whether optimizers work on all weights at once (`foreach`) by default."""


def machine(
    assumed: Assumptions,
    dtype: torch.dtype,
    pieces: Callable[[str], int],
    *,
    processes: int = 1,
    cpu: bool = False,
) -> Machine:
    """Describe the device of this process or the assumed one; given numbers are not measured.

    Args:
        assumed: Given memory and speed. If memory is given and there is no GPU here, it is that of
            a GPU elsewhere.
        dtype: Dtype of the model.
        pieces: Returns the chunk size of the head on `cuda` or `cpu`.
        processes: Number of processes on this machine; on a CPU they share its memory.
        cpu: Whether to ignore a GPU.
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
    """Measure the FLOP/s of a square matrix product."""
    n = SIZE[device.type]
    a, b = (torch.ones(n, n, dtype=dtype, device=device) for _ in range(2))
    return 2.0 * n**3 / _seconds(lambda: a @ b, device)


def read_bandwidth(device: torch.device) -> float:
    """Measure bytes/s with a matrix-vector product whose matrix exceeds all caches."""
    a = torch.ones(8192, 8192 if device.type == "cuda" else 2048, device=device)
    v = torch.ones(a.shape[1], device=device)
    return a.numel() * 4 / _seconds(lambda: a @ v, device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the fastest of some runs.

    On a CPU the clock of this thread is used, which does not count other processes.
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
