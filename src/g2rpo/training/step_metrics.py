"""The logged metrics of one rollout batch, over all ranks and equal on every rank.

They are about learning, throughput and memory. A warning names the setting to raise if many
completions of a task are cut off.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.algorithm.advantage.group_statistics import advantage_metrics
from g2rpo.metrics import checked
from g2rpo.per_task import task_means
from g2rpo.policy.adapter import has_adapter
from g2rpo.policy.flops import cost_of, text_flops, vision_flops
from g2rpo.records import LOGGED, accuracy_column
from g2rpo.rollout.kept_groups import Collected
from g2rpo.stopwatch import peak_bytes
from g2rpo.training.table import CompletionTable
from g2rpo.training.update import UpdateStats


@dataclass(kw_only=True)
class StepTimes:
    """Clock readings of one rollout batch, in seconds."""

    start: float
    rolled_out: float = 0.0
    probed: float = 0.0
    """Time after measuring gradient conflict, or after skipping it."""
    updated: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage in `STAGES`."""

    @property
    def step_s(self) -> float:
        """Seconds of the whole rollout batch."""
        return self.updated - self.start


def step_metrics(
    collected: Collected, table: CompletionTable, updates: Sequence[UpdateStats], times: StepTimes
) -> dict[str, float]:
    """Return one row of metrics.csv, without gradient conflict."""
    row = {"reward/total": table.total.double().mean().item()}
    shown = {
        "reward/accuracy": accuracy_column(table.parts),
        "reward/failed_frac": table.failed.float(),
        "rollout/completion_tokens": table.tokens.float(),
        "rollout/truncated_frac": (~table.finished).float(),
    }
    for name, values in shown.items():
        row |= task_means(name, values, table.task, table.names)
    for part, values in table.parts.items():
        if (name := part.removeprefix(LOGGED)) != "accuracy":
            present = ~values.isnan()
            row |= task_means(f"reward/{name}", values[present], table.task[present], table.names)
    row |= {"filter/draws": float(collected.draws)}
    row |= {
        f"filter/kept_frac/{task}": collected.kept.get(task, 0) / collected.drawn[task]
        for task in table.names
        if collected.drawn.get(task)
    }
    row |= advantage_metrics(
        table.advantages, table.rewards, table.total, table.group, table.task, table.names
    )
    row |= _update_metrics(updates, table.names)
    row |= {
        "time/step_s": times.step_s,
        "time/rollout_s": times.rolled_out - times.start,
        "time/gradient_conflict_s": times.probed - times.rolled_out,
        "time/update_s": times.updated - times.probed,
    } | {f"time/{name}_s": seconds for name, seconds in times.stages.items()}
    return checked(row)


def _update_metrics(updates: Sequence[UpdateStats], tasks: Sequence[str]) -> dict[str, float]:
    """Average the numbers of the updates; entropies are weighted by tokens."""
    names = {
        "policy": "loss/policy",
        "kl": "loss/kl",
        "entropy_band": "loss/entropy_band",
        "clip_frac": "loss/clip_frac",
        "ratio_mean": "loss/ratio_mean",
        "grad_norm": "optim/grad_norm",
        "lr": "optim/lr",
    }
    row = {
        column: sum(update.loss[name] for update in updates) / len(updates)
        for name, column in names.items()
    }
    entropy, tokens = (
        sum(update.entropy_sum for update in updates),
        sum(update.tokens for update in updates),
    )
    row |= {
        f"policy/entropy_nats/{tasks[i]}": (entropy[i] / n).item()
        for i, n in enumerate(tokens.tolist())
        if n
    }
    weights = [update.entropy_weight for update in updates if update.entropy_weight is not None]
    if weights:
        mean = torch.stack(weights).mean(0).tolist()
        row |= {f"shaping/entropy_weight/{task}": mean[i] for i, task in enumerate(tasks)}
    for i, task in enumerate(tasks):
        if own := [update.task_weights[i] for update in updates if i in update.task_weights]:
            row[f"gradient/weight/{task}"] = sum(own) / len(own)
    # only the first update still has the weights that sampled
    return row | {"policy/old_logprob_gap": updates[0].logprob_gap}


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
    passed = distinct if prefix != "repeated" else torch.tensor(padded)
    cost = cost_of(policy)
    forward = (
        (
            vision_flops(policy, cost, collected.batch)
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


log = logging.getLogger("g2rpo")
METRIC = "rollout/truncated_frac/"
MOST_CUT = 0.5
"""Share of a task's completions in a rollout batch above which the warning appears."""
REPEAT_AFTER = 25
"""Number of rollout batches before the warning can appear again."""


class CutNotice:
    """Watches the metrics of each rollout batch and names the setting to raise."""

    def __init__(self) -> None:
        self._silent_until = 0

    def watch(self, rollout_batch: int, metrics: Mapping[str, float], max_new_tokens: int) -> None:
        """Warn about tasks with more than half of their completions cut off.

        At most one warning appears in `REPEAT_AFTER` rollout batches.
        """
        cut = {
            name.removeprefix(METRIC): share
            for name, share in metrics.items()
            if name.startswith(METRIC) and share > MOST_CUT
        }
        if not cut or rollout_batch < self._silent_until:
            return
        self._silent_until = rollout_batch + REPEAT_AFTER
        log.warning(
            "rollout batch %d: %s of completions reached rollout.max_new_tokens=%d and were cut"
            " before they ended; raise it",
            rollout_batch,
            ", ".join(f"{task} {share:.0%}" for task, share in cut.items()),
            max_new_tokens,
        )
