"""The advantages and the clipped loss together find the answer that pays, on a problem whose best
answer is known.

A policy without any network's mystery: a linear map from a prompt's features to the logits of its
answers. Each feature vector is a color with noise, and one answer names the color. The five other
answers earn different partial rewards, so an estimator that only gets the order roughly right would
stay with the second best.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from g2rpo.algorithm.advantage.dr_grpo import DrGRPO
from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.grpo import GRPO
from g2rpo.algorithm.loss.clip import ClipLoss

COLOURS, ANSWERS, GROUP_SIZE, PROMPTS = 6, 6, 8, 24
ADVANTAGES = {"g2rpo": G2RPO(), "grpo": GRPO(), "dr_grpo": DrGRPO()}


def features(colors: Tensor, generator: torch.Generator) -> Tensor:
    noise = 0.2 * torch.randn(len(colors), COLOURS, generator=generator)
    return torch.nn.functional.one_hot(colors, COLOURS).float() + noise


def reward_of(colors: Tensor, answers: Tensor) -> Tensor:
    """1 for the color itself, 0.8 for its neighbor, 0 for the rest."""
    ahead = (answers - colors) % ANSWERS
    return (ahead == 0).float() + 0.8 * (ahead == 1).float()


def share_right(policy: torch.nn.Linear) -> float:
    """Probability of the right answer on prompts of its own."""
    generator = torch.Generator().manual_seed(999)
    colors = torch.arange(COLOURS).repeat(20)
    with torch.no_grad():
        probabilities = policy(features(colors, generator)).softmax(-1)
    return probabilities.gather(1, colors[:, None]).mean().item()


def fit_toy(advantage: Any, *, steps: int, seed: int, updates: int = 2) -> tuple[float, float]:
    """Trains for `steps` rollout batches of several updates each; probability of the right answer
    before and after.
    """
    generator = torch.Generator().manual_seed(seed)
    policy, loss = torch.nn.Linear(COLOURS, ANSWERS), ClipLoss()
    torch.nn.init.zeros_(policy.weight)
    torch.nn.init.zeros_(policy.bias)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    before = share_right(policy)
    for _ in range(steps):
        colors = torch.randint(COLOURS, (PROMPTS,), generator=generator).repeat_interleave(
            GROUP_SIZE
        )
        seen = features(colors[::GROUP_SIZE], generator).repeat_interleave(GROUP_SIZE, 0)
        with torch.no_grad():
            answers = torch.multinomial(policy(seen).softmax(-1), 1, generator=generator)
            old_logprobs = policy(seen).log_softmax(-1).gather(1, answers)
        groups = torch.arange(PROMPTS).repeat_interleave(GROUP_SIZE)
        advantages = advantage(
            reward_of(colors, answers[:, 0]), groups, colors % 2
        )  # even and odd colors are two tasks
        for _ in range(updates):
            logprobs = policy(seen).log_softmax(-1).gather(1, answers)
            value, _ = loss(
                logprobs, old_logprobs, advantages, torch.ones_like(logprobs, dtype=torch.bool)
            )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return before, share_right(policy)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_the_best_answer_is_found_where_the_second_best_pays_almost_as_much(name: str) -> None:
    before, after = fit_toy(ADVANTAGES[name], steps=100, seed=0)
    assert before == pytest.approx(1 / ANSWERS)
    assert after > 0.9


def test_with_advantages_of_the_wrong_sign_it_is_not_found() -> None:
    class Inverted(GRPO):
        def __call__(self, *args: Any, **options: Any) -> Tensor:
            return -super().__call__(*args, **options)

    assert fit_toy(Inverted(), steps=30, seed=0)[1] < 0.05
