"""How far the sampler is from the trainer, by hand, and the run that it stops."""

import math
from dataclasses import replace

import pytest
import torch

from g2rpo.algorithm.loss.importance import Rejection
from g2rpo.data.gym.source import TASKS
from g2rpo.records import Experience, Prompt, PromptBatch, Rollouts, Scores
from g2rpo.training.sampler_mismatch import SampleWatch, mismatch_metrics, staleness_metrics

HALF, THIRD = math.log(0.5), math.log(1 / 3)
MATH, CHART = TASKS.index("math"), TASKS.index("chart")


def experience(sampler: list[list[float]], trainer: list[list[float]] | None) -> Experience:
    """A math and a chart prompt with a completion each: of three and of one token."""
    tasks = torch.tensor([MATH, CHART])
    prompts = tuple(
        Prompt(id=t, task=t, text=t, images=(), answer="1", answer_type="numerical")
        for t in ("math", "chart")
    )
    mask = torch.tensor([[True, True, True], [True, False, False]])
    zeros = torch.zeros(2)
    return Experience(
        batch=PromptBatch(
            prompts=prompts,
            input_ids=torch.ones(2, 1, dtype=torch.long),
            attention_mask=torch.ones(2, 1, dtype=torch.long),
            num_images=torch.zeros(2, dtype=torch.long),
            position=torch.arange(2),
        ),
        rollouts=Rollouts(
            completion_ids=mask.long(),
            completion_mask=mask,
            old_logprobs=torch.tensor(sampler),
            prompt=torch.arange(2),
            finished=torch.ones(2, dtype=torch.bool),
            texts=("", ""),
        ),
        task=tasks,
        scores=Scores(total=zeros, parts={}),
        rewards=zeros,
        advantages=zeros,
        trainer_logprobs=None if trainer is None else torch.tensor(trainer),
    )


APART = experience(
    [[HALF, -1.0, -1.0], [0.0, 7.0, 7.0]], [[0.0, -1.0, -1.0 + HALF], [THIRD, 0.0, 0.0]]
)


def test_gap_kl_and_effective_sample_size_by_hand() -> None:
    # math: trainer / sampler = 2, 1, 1/2; chart: 1/3. What stands outside the mask has no say.
    row = mismatch_metrics(APART, TASKS, Rejection())
    ln2, ln3 = math.log(2), math.log(3)
    assert row == pytest.approx(
        {
            "rollout/logprob_gap_mean/math": 2 * ln2 / 3,
            "rollout/logprob_gap_max/math": ln2,
            # k3 of KL(sampler || trainer) is w - 1 - ln w: (1 - ln 2) + 0 + (-1/2 + ln 2), over
            # three tokens
            "rollout/sampler_k3/math": 0.5 / 3,
            "rollout/ess_frac/math": 3.5**2 / (3 * 5.25),
            "rollout/logprob_gap_mean/chart": ln3,
            "rollout/logprob_gap_max/chart": ln3,
            "rollout/sampler_k3/chart": ln3 - 2 / 3,
            "rollout/ess_frac/chart": 1.0,
        },
        abs=1e-6,
    )


def test_a_sampler_that_is_the_trainer_has_no_mismatch_to_log() -> None:
    same = experience([[0.0] * 3] * 2, None)
    assert mismatch_metrics(same, TASKS, Rejection()) == {}
    assert staleness_metrics(same, TASKS) == {}
    assert not same.off_policy


def test_the_rejected_share_counts_tokens_by_task() -> None:
    # of 2, 1, 1/2 the first is out of bounds; chart's only token, 1/3, is within
    row = mismatch_metrics(APART, TASKS, Rejection(bounds=[0.2, 1.5]))
    assert row["rollout/rejected_frac/math"] == pytest.approx(1 / 3)
    assert row["rollout/rejected_frac/chart"] == 0.0


def test_staleness_is_a_mean_over_tokens_and_leaves_padding_out() -> None:
    versions = torch.tensor([[7, 8, 9], [5, -1, -1]])
    rollouts = replace(APART.rollouts, weight_versions=versions)
    assert rollouts.staleness(9).tolist() == [[2, 1, 0], [4, 0, 0]]
    stale = replace(APART, rollouts=rollouts, staleness=rollouts.staleness(9))
    assert staleness_metrics(stale, TASKS) == {
        "staleness/mean/math": 1.0,
        "staleness/max/math": 2.0,
        "staleness/mean/chart": 4.0,
        "staleness/max/chart": 4.0,
    }


def ess(**shares: float) -> dict[str, float]:
    return {f"rollout/ess_frac/{task}": share for task, share in shares.items()}


def test_a_sample_that_stays_worthless_ends_the_run() -> None:
    watch = SampleWatch(TASKS, Rejection(min_ess_frac=0.2, patience=3))
    watch.watch(1, ess(math=0.1, chart=0.1))
    watch.watch(2, ess(math=0.1, chart=0.9))
    watch.watch(3, {"reward/total": 0.0})  # a rollout batch without weights is none of them
    with pytest.raises(
        RuntimeError,
        match=r"^step 4: the completions of math .+ below loss\.rejection\.min_ess_frac=0\.2 in 3"
        r" rollout batches in a row, 0\.0512 in the last",
    ):
        watch.watch(4, ess(math=0.05123, chart=0.1))


def test_one_good_sample_starts_the_count_again_and_0_never_stops() -> None:
    watch = SampleWatch(TASKS, Rejection(min_ess_frac=0.2, patience=2))
    for share in (0.1, 0.2, 0.1, 0.3, 0.1):
        watch.watch(1, ess(math=share))
    never = SampleWatch(TASKS, Rejection(min_ess_frac=0.0, patience=1))
    never.watch(1, ess(math=1e-9))
