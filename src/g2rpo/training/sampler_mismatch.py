"""How far the sampler is from the policy in training: metrics by task, and a stop.

The sampler differs from the trainer by the rounding of another implementation, and by the updates
that were made since it got its weights (staleness).
"""

from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from g2rpo import ranks
from g2rpo.algorithm.loss.importance import Rejection, log_weights
from g2rpo.algorithm.loss.kl import k3
from g2rpo.records import Experience

ESS = "rollout/ess_frac/"


def mismatch_metrics(
    experience: Experience, tasks: Sequence[str], rejection: Rejection
) -> dict[str, float]:
    """Compute log-probability gap, KL, effective sample size, and rejections over all ranks.

    With d = trainer - sampler per token and w = e^d, the metrics are mean and largest |d|, the k3
    estimate of KL(sampler || trainer), the effective sample size (sum w)^2 / (n sum w^2), which is
    1 if both agree, and the share of tokens that `rejection` rejects.

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
    difference = log_weights(trainer, sampler, mask)
    weight = difference.exp()
    rejected = mask & ~rejection.accepted(difference, mask)
    terms = [
        torch.ones_like(weight),
        difference.abs(),
        k3(sampler, trainer),
        weight,
        weight.square(),
        rejected.double(),
    ]
    sums, worst = _by_task(experience, len(tasks), terms, difference.abs())
    row: dict[str, float] = {}
    for i, (count, gap, kl, weight_sum, square, dropped) in enumerate(sums.tolist()):
        if count:
            row |= {
                f"rollout/logprob_gap_mean/{tasks[i]}": gap / count,
                f"rollout/logprob_gap_max/{tasks[i]}": worst[i].item(),
                f"rollout/sampler_k3/{tasks[i]}": kl / count,
                f"{ESS}{tasks[i]}": weight_sum**2 / (count * square),
            }
            if rejection.bounds is not None:
                row[f"rollout/rejected_frac/{tasks[i]}"] = dropped / count
    return row


def staleness_metrics(experience: Experience, tasks: Sequence[str]) -> dict[str, float]:
    """Compute mean and largest staleness of the tokens of each task over all ranks.

    Returns:
        Metrics by name; empty if the engine does not say which weights wrote a token.
    """
    if experience.staleness is None:
        return {}
    stale = experience.staleness.double()
    sums, worst = _by_task(experience, len(tasks), [torch.ones_like(stale), stale], stale)
    return {
        f"staleness/{name}/{tasks[i]}": value
        for i, (count, total) in enumerate(sums.tolist())
        if count
        for name, value in (("mean", total / count), ("max", worst[i].item()))
    }


def _by_task(
    experience: Experience,
    num_tasks: int,
    terms: Sequence[Float[Tensor, "b t"]],
    largest: Float[Tensor, "b t"],
) -> tuple[Float[Tensor, "k n"], Float[Tensor, " k"]]:
    """Return the sums of terms, and the largest value of another, over each task's tokens."""
    mask = experience.rollouts.completion_mask
    sums = torch.zeros(num_tasks, len(terms), dtype=torch.float64)
    worst = torch.zeros(num_tasks, dtype=torch.float64)
    for i in experience.task.unique().tolist():
        inside = mask & (experience.task == i)[:, None]
        sums[i] = torch.stack([term[inside].sum() for term in terms]).cpu()
        worst[i] = largest[inside].max()
    return ranks.all_reduce_sum(sums), ranks.all_reduce_max(worst)


class SampleWatch:
    """Stops a run whose completions say nothing about the policy in training any more.

    Args:
        tasks: The tasks of the run.
        rejection: What the loss rejects, and when the run stops.
    """

    def __init__(self, tasks: Sequence[str], rejection: Rejection) -> None:
        self.tasks, self.rejection = tasks, rejection
        self._below: Counter[str] = Counter()

    def metrics(self, experience: Experience) -> dict[str, float]:
        """Return `mismatch_metrics` and `staleness_metrics` of a rollout batch."""
        return mismatch_metrics(experience, self.tasks, self.rejection) | staleness_metrics(
            experience, self.tasks
        )

    def watch(self, step: int, row: dict[str, float]) -> None:
        """Count rollout batches in which the effective sample of a task is too small.

        Args:
            step: Number of optimizer updates so far, for the message.
            row: Metrics of a rollout batch; without importance weights nothing is counted.

        Raises:
            RuntimeError: if it was too small in so many consecutive batches with this task.
        """
        least, patience = self.rejection.min_ess_frac, self.rejection.patience
        for name, share in row.items():
            if not name.startswith(ESS):
                continue
            task = name.removeprefix(ESS)
            self._below[task] = self._below[task] + 1 if share < least else 0
            if self._below[task] >= patience:
                raise RuntimeError(
                    f"step {step}: the completions of {task} come from a policy too far from the"
                    " one in training: their effective sample size was below"
                    f" loss.rejection.min_ess_frac={least:g} in {patience} rollout batches in a"
                    f" row, {share:.3g} in the last. Use fresher weights (rollout.ahead,"
                    " rollout.max_staleness), lower optimizer.lr, and see whether"
                    " rollout/sync_logprob_gap is small: if not, the engine computes something"
                    " else. loss.rejection.min_ess_frac=0 goes on regardless"
                )
