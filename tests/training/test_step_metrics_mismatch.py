import math

import pytest
import torch

from g2rpo.data.gym.source import TASKS
from g2rpo.records import Experience, Prompt, PromptBatch, Rollouts, Scores
from g2rpo.training.step_metrics import sampler_mismatch

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


def test_gap_kl_and_effective_sample_size_by_hand() -> None:
    # math: trainer / sampler = 2, 1, 1/2; chart: 1/3. What stands outside the mask has no say.
    row = sampler_mismatch(
        experience(
            [[HALF, -1.0, -1.0], [0.0, 7.0, 7.0]], [[0.0, -1.0, -1.0 + HALF], [THIRD, 0.0, 0.0]]
        ),
        TASKS,
    )
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
    assert sampler_mismatch(experience([[0.0] * 3] * 2, None), TASKS) == {}
