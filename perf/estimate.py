"""Compare the numbers of `estimate.py` with measured memory and seconds.

    OMP_NUM_THREADS=1 python perf/estimate.py

Memory is the peak beyond the loaded model; each row runs in a separate process. `backward` is the
forward and backward pass of one micro-batch, `rollout` generates the completions of a batch with
`rollout=hf`. Weights are random, so no completion ends early. On a CPU, seconds are summed over the
threads of the process.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from step import DTYPES, Update, parsed, resident

from g2rpo.policy.head import piece_bytes
from g2rpo.records import Sampling
from g2rpo.rollout.hf import HFEngine
from g2rpo.training.estimate.assumptions import Assumptions
from g2rpo.training.estimate.machine import machine
from g2rpo.training.estimate.memory import parts_of
from g2rpo.training.estimate.seconds import seconds_of
from g2rpo.training.estimate.shape import shape_of
from g2rpo.training.estimate.workload import Lengths, Workload

SETTINGS = (
    "--shape=tiny --prompts=8 --prompt=48 --image-frac=0.34 --group=8 --completion=56",
    "--shape=tiny --prompts=1 --prompt=512 --group=8 --completion=32",
    "--shape=small --prompts=1 --prompt=512 --group=8 --completion=32",
    "--shape=small --prompts=2 --prompt=512 --group=8 --completion=128",
    "--shape=small --prompts=2 --prompt=512 --group=8 --completion=64 --checkpointing",
    "--shape=tiny --prompts=4 --prompt=256 --group=8 --completion=64 --dtype=bfloat16",
    "--shape=small --prompts=1 --prompt=1536 --images=4 --group=4 --completion=64",
)
KEPT_FOR = {
    "backward": ("activations", "head", "gradients"),
    "rollout": ("prefill", "keys and values", "sampling"),
}
STAGES = {"backward": ("forward", "backward"), "rollout": ("prefill", "decode")}


def estimated(update: Update, options: argparse.Namespace, phase: str) -> tuple[float, float]:
    """Return the estimated MiB beyond the model, and seconds."""
    shape, batch = shape_of(update.policy), update.batch
    patches = sum(len(image["pixel_values"]) for image in batch.images) // options.prompts
    lengths = Lengths(
        longest=batch.input_ids.shape[1],
        mean=batch.input_ids.shape[1],
        most_patches=patches,
        mean_patches=patches,
        origin="as set",
    )
    load = Workload(
        prompts=options.prompts,
        group_size=options.group,
        completion=options.completion,
        lengths=lengths,
        updates=1,
        micro_batch_prompts=options.prompts,
        row_completions=options.group,
        shared=True,
        checkpointing=options.checkpointing,
        reference=False,
        extra_passes=0,
        redraws=False,
        sampled_here=True,
        engine_frac=0.0,
        engine_stays=False,
    )
    device = machine(Assumptions(), DTYPES[options.dtype], piece_bytes)
    parts, seconds = parts_of(shape, load, device, 0, 0), seconds_of(shape, load, device, 0)
    mib = sum(getattr(part, phase) for part in parts if part.name in KEPT_FOR[phase]) / 2**20
    return mib, sum(seconds[stage] for stage in STAGES[phase])


def measured(update: Update, options: argparse.Namespace, phase: str) -> tuple[float, float]:
    """Return the measured MiB beyond the model, and seconds of a second pass."""
    work: Any = update.run if phase == "backward" else _rollout(update, options)
    on_gpu = update.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        before = resident("VmRSS")
    found = work("shared")
    peak = update.peak() - before
    found = work("shared")
    return peak, sum(found[stage] for stage in STAGES[phase])


def _rollout(update: Update, options: argparse.Namespace) -> Any:
    encoder = SimpleNamespace(
        eos_token_id=-1,
        end_tokens={-1: ""},
        pad_token_id=0,
        forbidden_token_ids=(4, 5, 6),
        decode=lambda ids, mask: ("",) * len(ids),
    )
    engine = HFEngine(max_new_tokens=options.completion)
    engine.start(update.policy, encoder)
    sampling = Sampling(
        group_size=options.group, max_new_tokens=options.completion, temperature=1.0, top_p=1.0
    )

    def work(_: str) -> dict[str, float]:
        clock = time.perf_counter if update.device.type == "cuda" else time.process_time
        start = clock()
        engine.generate(update.batch, sampling, 0)
        return {"prefill": 0.0, "decode": clock() - start}

    return work


def one(options: argparse.Namespace, phase: str) -> None:
    """Print one row as JSON."""
    update = Update(options)
    torch.ones(8, 8) @ torch.ones(8, 8)
    held, spent = measured(update, options, phase)
    wanted, seconds = estimated(update, options, phase)
    print(json.dumps([wanted, held, seconds, spent]))


def main() -> None:
    """Print the table."""
    print(
        "| setting | phase | estimated MiB | measured MiB | ratio | estimated s | measured s |"
        " ratio |\n|---|---|---|---|---|---|---|---|"
    )
    for setting in SETTINGS:
        for phase in KEPT_FOR:
            if phase == "rollout" and "checkpointing" in setting:
                continue
            command = [sys.executable, __file__, f"--phase={phase}", *setting.split()]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            mib, held, seconds, spent = json.loads(done.stdout.splitlines()[-1])
            cells = [
                f"{mib:.0f}",
                f"{held:.0f}",
                f"{mib / held:.2f}",
                f"{seconds:.2f}",
                f"{spent:.2f}",
                f"{seconds / spent:.2f}",
            ]
            print(
                f"| {setting.replace('--', '')} | {phase} | " + " | ".join(cells) + " |", flush=True
            )


if __name__ == "__main__":
    asked = [argument for argument in sys.argv if argument.startswith("--phase=")]
    if asked:
        sys.argv.remove(asked[0])
        chosen = parsed()
        torch.set_num_threads(chosen.threads)
        one(chosen, asked[0].partition("=")[2])
    else:
        main()
