"""Throughput of a rollout batch, and the share of its computation that was necessary."""

from typing import Any

import torch

from g2rpo import ranks
from g2rpo.policy.adapter import has_adapter
from g2rpo.policy.flops import cost_of, text_flops, vision_flops
from g2rpo.rollout.collect import Collected
from g2rpo.training.estimate.machine import peak_bytes

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "B200": 2250.0}
"""Dense bfloat16 TFLOP/s of GPUs, from the vendors' data sheets; MFU is logged for these."""


def throughput(policy: Any, collected: Collected, prefix: str, step_s: float) -> dict[str, float]:
    """Compute the `time/*` metrics of throughput over all ranks.

    Model FLOPs are the least that the prompts and completions need: one forward pass to generate
    them, and one forward and backward pass (twice a forward) to learn from them. Each prompt counts
    once for its group. Groups that the filter dropped do not count.

    Args:
        policy: The model in training.
        collected: The groups of this rank that were kept.
        prefix: `policy.prefix`: `shared` or `repeated`.
        step_s: Seconds of the whole rollout batch.
    """
    prompt, completion = (
        collected.batch.attention_mask.sum(1),
        collected.rollouts.completion_mask.sum(1),
    )
    distinct = prompt.sum() + (completion - 1).sum()
    padded = len(completion) * (
        collected.batch.attention_mask.shape[1] + collected.rollouts.completion_mask.shape[1]
    )
    passed = distinct if prefix == "shared" else torch.tensor(padded)
    cost = cost_of(policy)
    forward = (
        (
            vision_flops(cost, collected.batch)
            + text_flops(cost, prompt, completion, collected.rollouts.prompt, shared=True)
        )
        if len(completion)
        else 0.0
    )
    effort = (3 if has_adapter(policy) else 4) * forward
    own = torch.tensor(
        [float(prompt.sum() + completion.sum()), float(distinct), float(passed), effort],
        dtype=torch.float64,
    )
    tokens, useful, through, flops = ranks.all_reduce_sum(own).tolist()
    row = {
        "time/tokens_per_second": tokens / step_s,
        "time/useful_frac": useful / through,
        "time/tflops": flops / step_s / 1e12,
    }
    row["time/peak_gib"] = float(
        ranks.all_reduce_max(torch.tensor(peak_bytes() / 2**30, dtype=torch.float64))
    )
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        peaks = [peak for card, peak in PEAK_TFLOPS.items() if card in name]
        row |= (
            {"time/mfu_frac": row["time/tflops"] / (peaks[0] * ranks.world_size())} if peaks else {}
        )
    return row
