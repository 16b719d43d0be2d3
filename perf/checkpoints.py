"""Memory and seconds of loading, exporting and saving a sharded model (`trainer=fsdp`).

    python perf/checkpoints.py --ranks 2

A random model of about 250 million parameters in float32 is loaded by processes on the CPU, AdamW
takes a step, and the model is exported in bfloat16 and saved as a checkpoint. Memory is the peak
resident size beyond that at the start of a stage, on rank 0 (which writes exports) and on the other
rank that needs most. Saves are timed until training can go on, and until the checkpoint is
complete. The allocator gives freed memory back at once (MALLOC_MMAP_THRESHOLD_).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from shapes import random_policy
from step import resident
from torch.distributed.device_mesh import init_device_mesh

from g2rpo import ranks
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.sharding import Sharding, load_sharded
from g2rpo.training.checkpoint_folder import save_folder

SHARD_BYTES = 128 * 2**20
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


class Stages:
    """Measures peak memory and seconds of stages, of all ranks."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}

    def run(self, name: str, act: Callable[[], Any]) -> Any:
        """Return `act()`; record what it took."""
        dist.barrier()
        Path("/proc/self/clear_refs").write_text("5")
        before, start = resident("VmRSS"), time.perf_counter()
        result = act()
        seconds = time.perf_counter() - start
        extra = ranks.all_gather_list([resident("VmHWM") - before])
        self.rows[name] = {"s": seconds, "first": extra[0], "others": max(extra[1:], default=0.0)}
        return result


def worker(folder: Path, size: int) -> None:
    """Run in every process that `main` starts; rank 0 prints the measurements as JSON."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mesh, stages = init_device_mesh("cpu", (size,)), Stages()
    sharding = Sharding(mesh=mesh, device=torch.device("cpu"))
    policy = stages.run(
        "load", lambda: load_sharded(str(folder / "model"), sharding, torch.float32, torch.float32)
    )
    encoder = Checkpoint.packaged(name="tiny_qwen3_vl").encoder()
    stages.run(
        "export",
        lambda: save_checkpoint(
            policy, encoder, folder / "final", "bfloat16", shard_bytes=SHARD_BYTES
        ),
    )
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0)
    for parameter in policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    state = {"state_dict": policy.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    stages.run("save", lambda: save_folder(folder / "a.ckpt", state))
    group = dist.new_group(backend="gloo")
    saving = stages.run("blocked", lambda: save_folder(folder / "b.ckpt", state, group))
    stages.run("written", saving.result)
    if ranks.rank() == 0:
        print(json.dumps(stages.rows))
    dist.destroy_process_group()


def bit_equal(folder: Path) -> bool:
    """Return whether the export holds exactly the weights of the source, rounded to bfloat16."""
    source: dict[str, Any] = {}
    for file in (folder / "model").glob("*.safetensors"):
        with safe_open(file, "pt") as found:
            source |= {name: found.get_tensor(name).bfloat16() for name in found.keys()}  # noqa: SIM118
    count = 0
    for file in (folder / "final").glob("*.safetensors"):
        with safe_open(file, "pt") as found:
            for name in found.keys():  # noqa: SIM118
                count += 1
                if not torch.equal(found.get_tensor(name), source[name]):
                    return False
    return count == len(source)


def main() -> None:
    """Start the processes and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--shape", default="250m", help="one of perf/shapes.py")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.ranks)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        policy = random_policy(options.shape, torch.device("cpu"), torch.float32)
        count = sum(value.numel() for value in policy.parameters())
        largest = max(value.nbytes for value in policy.parameters()) / 2**20
        policy.save_pretrained(folder / "model")
        del policy
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--ranks", str(options.ranks)),
                    *("--worker", str(folder)),
                ],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ
                | shared
                | ALLOCATOR
                | {"RANK": str(rank), "WORLD_SIZE": str(options.ranks)},
            )
            for rank in range(options.ranks)
        ]
        words = [process.communicate()[0] for process in running]
        rows = json.loads(words[0].splitlines()[-1])
        print(f"{count / 1e6:.0f} M parameters, {options.ranks} ranks, float32")
        print(f"a rank's shard: {count * 4 / options.ranks / 2**20:.0f} MiB of weights;", end=" ")
        print(f"largest tensor: {largest:.0f} MiB; export files: {SHARD_BYTES / 2**20:.0f} MiB")
        print(f"exported weights bit-equal to the source: {bit_equal(folder)}\n")
        print("| stage | rank 0, MiB | other ranks, MiB | s |\n|---|---|---|---|")
        for stage, row in rows.items():
            print(f"| {stage} | {row['first']:.0f} | {row['others']:.0f} | {row['s']:.1f} |")


if __name__ == "__main__":
    main()
