"""Milliseconds of attention over short causal segments on a CPU: matrix products and flash kernel.

    python perf/short_attention.py --threads 2

Four query heads share two heads of keys, as in the packaged model. The flash kernel gets its keys
repeated, as it needs them. The last column is the speed of products; `SHORT` in
src/g2rpo/policy/padded_calls.py is chosen by it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from g2rpo.policy.padded_calls import FLASH, PRODUCTS, Kernel

SIZES = ((192, 8), (192, 16), (96, 24), (48, 32), (48, 40), (24, 64), (8, 128))
"""Numbers of segments, and their length in tokens."""
HEADS, KEY_HEADS, WIDTH = 4, 2, 32


def call(kernel: Kernel, segments: int, length: int) -> Callable[[], None]:
    """Return what computes attention and its gradients once."""
    further = HEADS // KEY_HEADS if kernel is PRODUCTS else 1
    query, grad = torch.randn(2, segments, HEADS // further, length * further, WIDTH)
    keys = torch.randn(2, segments, KEY_HEADS, length, WIDTH)

    def once() -> None:
        key, value = keys if kernel is PRODUCTS else keys.repeat_interleave(HEADS // KEY_HEADS, 2)
        out, lse = kernel.forward(query, key, value, 0.0, True, scale=WIDTH**-0.5)[:2]
        kernel.backward(grad, query, key, value, out, lse, 0.0, True, scale=WIDTH**-0.5)

    return once


def milliseconds(calls: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Return the median of each; they take turns."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for once, times in zip(calls, found, strict=True):
            start = time.perf_counter()
            once()
            times.append(1000 * (time.perf_counter() - start))
    return [statistics.median(times) for times in found]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.threads} thread(s)\n| segments | products | flash | speed |\n|---|---|---|---|"
    )
    for segments, length in SIZES:
        calls = [call(kernel, segments, length) for kernel in (PRODUCTS, FLASH)]
        products, flash = milliseconds(calls, options.rounds)
        print(
            f"| {segments} x {length} | {products:.2f} | {flash:.2f} | {flash / products:.2f} x |"
        )


if __name__ == "__main__":
    main()
