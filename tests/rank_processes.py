"""Start a script once per rank, as torchrun would."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def run_ranks(script: Path, *arguments: Any, world: int = 2, timeout_s: float = 240.0) -> None:
    """Run `python script arguments` on every rank and fail with the output of one that fails."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(world)}
    running = [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | shared
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(world)
    ]
    try:
        for process in running:
            words, _ = process.communicate(timeout=timeout_s)
            assert process.returncode == 0, words
    finally:
        for process in running:
            process.kill()
            process.communicate()


def move_adapter(policy: Any) -> None:
    """Give B random values that depend on the name alone; it is zero at the start."""
    for name, parameter in policy.named_parameters():
        if ".lora_B." in name:
            generator = torch.Generator().manual_seed(len(name))
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
