"""Measures by task how much the sampler's token probabilities differ from the trainer's."""

from collections.abc import Sequence

import torch

from g2rpo import ranks
from g2rpo.algorithm.loss.kl import k3
from g2rpo.records import Experience


def sampler_mismatch(experience: Experience, tasks: Sequence[str]) -> dict[str, float]:
    """Compute log-probability gap, KL and effective sample size over the tokens of all ranks.

    With d = trainer - sampler per token and w = e^d, the metrics are mean and largest |d|, the k3
    estimate of KL(sampler || trainer), and the effective sample size (sum w)^2 / (n sum w^2), which
    is 1 if both agree.

    Returns:
        Metrics by name; empty if the trainer did not compute its own log-probabilities.
    """
    if experience.trainer_logprobs is None:
        return {}
    mask = experience.rollouts.completion_mask
    sampler, trainer = (
        experience.rollouts.old_logprobs.double(),
        experience.trainer_logprobs.double(),
    )
    sums = torch.zeros(len(tasks), 5, dtype=torch.float64)
    worst = torch.zeros(len(tasks), dtype=torch.float64)
    for i in experience.task.unique().tolist():
        inside = mask & (experience.task == i)[:, None]
        difference = (trainer - sampler)[inside]
        weight = difference.exp()
        terms = [
            torch.ones_like(weight),
            difference.abs(),
            k3(sampler, trainer)[inside],
            weight,
            weight.square(),
        ]
        sums[i] = torch.stack([term.sum() for term in terms]).cpu()
        worst[i] = difference.abs().max()
    sums, worst = ranks.all_reduce_sum(sums), ranks.all_reduce_max(worst)
    row: dict[str, float] = {}
    for i, (count, gap, kl, weight, square) in enumerate(sums.tolist()):
        if count:
            row |= {
                f"rollout/logprob_gap_mean/{tasks[i]}": gap / count,
                f"rollout/logprob_gap_max/{tasks[i]}": worst[i].item(),
                f"rollout/sampler_k3/{tasks[i]}": kl / count,
                f"rollout/ess_frac/{tasks[i]}": weight**2 / (count * square),
            }
    return row
