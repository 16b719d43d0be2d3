"""Speed and memory: given, or measured here."""

import os

import pytest
import torch

from g2rpo.policy.head import piece_bytes
from g2rpo.stopwatch import peak_bytes, resident
from g2rpo.training.estimate import machine as machines
from g2rpo.training.estimate.assumptions import Assumptions
from g2rpo.training.estimate.machine import machine


def test_a_cpu_is_measured_and_shared_by_its_processes() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = machine(Assumptions(), torch.float32, piece_bytes, processes=2, cpu=True)
    assert found.memory == whole // 2
    assert found.flops > 1e8
    assert found.bandwidth > 1e8
    assert (found.copies, found.piece) == (False, 2**23)
    assert found.baseline == pytest.approx(resident(), rel=0.2)


def test_a_gpu_elsewhere_is_what_is_said_of_it() -> None:
    found = machine(
        Assumptions(gib=80, tflops=1000, gb_per_s=3000, efficiency=0.5),
        torch.bfloat16,
        piece_bytes,
        cpu=True,
    )
    assert (found.memory, found.flops, found.bandwidth) == (80 * 2**30, 5e14, 3e12)
    assert (found.baseline, found.copies, found.piece) == (0, True, 2**28)
    assert machine(Assumptions(gib=80), torch.bfloat16, piece_bytes, cpu=True).flops == 0.0


def test_speeds_are_operations_and_bytes_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_seconds", lambda work, device: 0.5)
    cpu = torch.device("cpu")
    assert machines.matmul_flops(cpu, torch.float32) == 2 * 512**3 / 0.5
    assert machines.read_bandwidth(cpu) == 8192 * 2048 * 4 / 0.5


def test_the_peak_keeps_what_was_held_once() -> None:
    before = resident()
    held = torch.ones(2**25)  # 128 MiB
    after = resident()
    del held
    assert after - before > 100 * 2**20
    assert peak_bytes() > after - 2**22 or torch.cuda.is_available()  # the kernel counts in lots
