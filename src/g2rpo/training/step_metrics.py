"""The logged metrics of one rollout batch, over all ranks and equal on every rank."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from g2rpo.algorithm.advantage.diagnostics import advantage_metrics
from g2rpo.metrics import checked, task_means
from g2rpo.records import LOGGED, TASKS, accuracy_column
from g2rpo.rollout.collect import Collected
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


def step_metrics(
    collected: Collected, table: CompletionTable, updates: Sequence[UpdateStats], times: StepTimes
) -> dict[str, float]:
    """Return one row of metrics.csv, without gradient conflict."""
    row = {"reward/total": table.total.double().mean().item()}
    row |= task_means("reward/accuracy", accuracy_column(table.parts), table.task)
    for part, values in table.parts.items():
        if (name := part.removeprefix(LOGGED)) != "accuracy":
            present = ~values.isnan()
            row |= task_means(f"reward/{name}", values[present], table.task[present])
    row |= task_means("reward/failed_frac", table.failed.float(), table.task)
    row |= task_means("rollout/completion_tokens", table.tokens.float(), table.task)
    row |= task_means("rollout/truncated_frac", (~table.finished).float(), table.task)
    row |= {"filter/draws": float(collected.draws)}
    row |= {
        f"filter/kept_frac/{TASKS[i]}": (collected.kept[i] / n).item()
        for i, n in enumerate(collected.drawn.tolist())
        if n
    }
    row |= advantage_metrics(table.advantages, table.rewards, table.total, table.group, table.task)
    row |= _update_metrics(updates)
    row |= {
        "time/step_s": times.updated - times.start,
        "time/rollout_s": times.rolled_out - times.start,
        "time/gradient_conflict_s": times.probed - times.rolled_out,
        "time/update_s": times.updated - times.probed,
    } | {f"time/{name}_s": seconds for name, seconds in times.stages.items()}
    return checked(row)


def _update_metrics(updates: Sequence[UpdateStats]) -> dict[str, float]:
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
        f"policy/entropy_nats/{TASKS[i]}": (entropy[i] / n).item()
        for i, n in enumerate(tokens.tolist())
        if n
    }
    # only the first update still has the weights that sampled
    return row | {"policy/old_logprob_gap": updates[0].logprob_gap}
