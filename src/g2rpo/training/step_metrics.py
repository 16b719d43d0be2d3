"""The numbers of one step, by their names in metrics.py."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from g2rpo.metrics import checked, task_means
from g2rpo.records import TASKS, Experience
from g2rpo.rollout.collect import Collected
from g2rpo.training.update import UpdateStats


@dataclass(kw_only=True)
class StepTimes:
    """Clock readings of one step, in seconds."""

    start: float
    rolled_out: float = 0.0
    updated: float = 0.0


def step_metrics(
    collected: Collected, experience: Experience, length_part: Float[Tensor, " b"] | None, updates: Sequence[UpdateStats], times: StepTimes
) -> dict[str, float]:
    """One row of metrics.csv, the advantages' own numbers excepted."""
    task, rollouts = experience.task, experience.rollouts
    row = {"reward/total": experience.scores.total.double().mean().item()}
    row |= task_means("reward/accuracy", experience.scores.parts["accuracy"], task)
    row |= task_means("reward/format", experience.scores.parts["format"], task)
    row |= task_means("reward/failed_frac", collected.failed.float(), task)
    if length_part is not None:
        row |= task_means("reward/length", length_part, task)
    row |= task_means("rollout/completion_tokens", rollouts.completion_mask.sum(1).float(), task)
    row |= task_means("rollout/truncated_frac", (~rollouts.finished).float(), task)
    row |= {"filter/draws": float(collected.draws)}
    row |= {f"filter/kept_frac/{TASKS[i]}": (collected.kept[i] / n).item() for i, n in enumerate(collected.drawn.tolist()) if n}
    row |= _update_metrics(updates)
    row |= {
        "time/step_s": times.updated - times.start,
        "time/rollout_s": times.rolled_out - times.start,
        "time/update_s": times.updated - times.rolled_out,
    }
    return checked(row)


def _update_metrics(updates: Sequence[UpdateStats]) -> dict[str, float]:
    """Means over the step's updates; entropies as token-weighted sums."""
    names = {
        "policy": "loss/policy", "kl": "loss/kl", "entropy_band": "loss/entropy_band", "clip_frac": "loss/clip_frac",
        "ratio_mean": "loss/ratio_mean", "grad_norm": "optim/grad_norm", "lr": "optim/lr",
    }  # fmt: skip
    row = {column: sum(update.loss[name] for update in updates) / len(updates) for name, column in names.items()}
    entropy, tokens = sum(update.entropy_sum for update in updates), sum(update.tokens for update in updates)
    row |= {f"policy/entropy_nats/{TASKS[i]}": (entropy[i] / n).item() for i, n in enumerate(tokens.tolist()) if n}
    # later updates move away from the sampler on purpose; only the first compares like with like
    return row | {"policy/old_logprob_gap": updates[0].logprob_gap}
