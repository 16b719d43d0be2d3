"""Compare transformers' RMSNorm with `g2rpo/policy/rms_norm.py`, in float32 on a CPU.

    python perf/rms_norm.py [--threads 1] [--rounds 21]

The two take turns. Printed are microseconds per call, the medians of all rounds: forward without
gradients, as in decoding, and forward and backward, as in training. Shapes are those of the gym: a
token of 192 completions, a row of a prompt and its completions, and their heads.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRMSNorm

from g2rpo.allocator import keep_freed_memory
from g2rpo.policy.rms_norm import use_fast_norms

SHAPES = ((192, 1, 128), (192, 1, 4, 32), (1, 400, 128), (1, 400, 4, 32), (1, 400, 2048))
"""The last one is as wide as Qwen3-VL-2B."""
ROUND_S = 0.02
"""Seconds of a round, at least."""


def microseconds(call: Callable[[], object], calls: int) -> float:
    """Return the mean time of a call."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def forward(norm: nn.Module, values: torch.Tensor) -> Callable[[], object]:
    """Return a call that normalizes and keeps nothing for a backward pass."""

    def call() -> None:
        with torch.inference_mode():
            norm(values)

    return call


def forward_backward(norm: nn.Module, values: torch.Tensor) -> Callable[[], object]:
    """Return a call that normalizes, and computes the gradients of input and weight."""
    given = [values.clone().requires_grad_(), *norm.parameters()]
    upstream = torch.randn_like(values)
    return lambda: torch.autograd.grad(norm(given[0]), given, upstream)


def main() -> None:
    """Print a row per shape and pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as a training run does
    print(
        f"{options.threads} thread(s), torch {torch.__version__}, load {os.getloadavg()[0]:.1f},"
        f" medians of {options.rounds} rounds\n"
    )
    print("| shape | pass | transformers, us | ours, us | ratio |\n|---|---|---|---|---|")
    for shape in SHAPES:
        plain = Qwen3VLTextRMSNorm(shape[-1])
        fast = copy.deepcopy(plain)
        use_fast_norms(fast)
        values = torch.randn(shape)
        for name, make in (("forward", forward), ("forward + backward", forward_backward)):
            sides = [make(norm, values) for norm in (plain, fast)]
            first = max(microseconds(call, 3) for call in sides)
            calls = max(1, int(ROUND_S * 1e6 / first))
            found = [[microseconds(call, calls) for call in sides] for _ in range(options.rounds)]
            theirs, ours = (statistics.median(side) for side in zip(*found, strict=True))
            print(
                f"| {' x '.join(map(str, shape))} | {name} | {theirs:.1f} | {ours:.1f} |"
                f" {theirs / ours:.2f} x |",
                flush=True,
            )


if __name__ == "__main__":
    main()
