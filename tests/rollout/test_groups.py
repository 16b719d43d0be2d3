"""Groups of different sizes in one batch: every completion stays with its prompt."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.collect import KeepAll, collect
from g2rpo.rollout.groups import generate_groups, group_means
from g2rpo.training.collecting import AnswerNow

Made = Callable[..., PromptBatch]
BATCH = (("a", "math", 1), ("b", "chart", 0), ("c", "math", 2), ("d", "document", 1))


class NamingEngine:
    """Completions say whose they are and which of their group; each call's are one token longer
    than those of the call before.
    """

    def __init__(self) -> None:
        self.sampling = Sampling(group_size=2, max_new_tokens=8)
        self.calls: list[tuple[str, int, int]] = []

    def start(self, policy: Any, encoder: Encoder) -> None:
        """Nothing to start."""

    def load_weights(self, policy: Any, step: int) -> None:
        """No weights."""

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        names = [prompt.id for prompt in batch.prompts]
        self.calls.append(("".join(names), sampling.group_size, seed))
        texts = tuple(f"{name}{place}" for name in names for place in range(sampling.group_size))
        ids = torch.tensor([[ord(text[0]), int(text[1])] + [7] * len(self.calls) for text in texts])
        return Rollouts(
            completion_ids=ids,
            completion_mask=torch.ones_like(ids, dtype=torch.bool),
            old_logprobs=-ids.float(),
            prompt=torch.arange(len(names)).repeat_interleave(sampling.group_size),
            finished=torch.ones(len(ids), dtype=torch.bool),
            texts=texts,
        )


class PlaceReward:
    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        assert completion[0] == prompt.id
        accuracy = float(completion[1] == "0")
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}


def test_tasks_get_groups_of_their_own_size_in_the_order_of_the_prompts(made: Made) -> None:
    engine = NamingEngine()
    rollouts = generate_groups(
        engine, made(*BATCH), engine.sampling, {"math": 3, "document": 1}, seed=40
    )
    assert rollouts.texts == ("a0", "a1", "a2", "b0", "b1", "c0", "c1", "c2", "d0")
    assert rollouts.prompt.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3]
    assert rollouts.completion_ids[:, 0].tolist() == [ord(text[0]) for text in rollouts.texts]
    assert [(names, size) for names, size, _ in engine.calls] == [("d", 1), ("b", 2), ("ac", 3)]
    assert {seed for _, _, seed in engine.calls} == {40}  # positions tell the prompts apart
    # padded to the longest call
    assert rollouts.completion_mask.sum(1).tolist() == [5, 5, 5, 4, 4, 5, 5, 5, 3]


def test_one_size_is_one_call_with_the_seed_as_it_is(made: Made) -> None:
    engine = NamingEngine()
    generate_groups(engine, made(*BATCH), engine.sampling, {"spatial": 9}, seed=40)
    assert engine.calls == [("abcd", 2, 40)]


def test_a_step_of_uneven_groups_keeps_scores_with_their_completions(made: Made) -> None:
    engine = NamingEngine()
    collected = collect(
        made(*BATCH),
        lambda missing: made(*BATCH),
        AnswerNow(
            engine=engine,
            reward=PlaceReward(),
            sampling=engine.sampling,
            failure_budget=0.0,
            seed=0,
            group_size_of={"math": 4},
        ),
        group_filter=KeepAll(),
    )
    assert collected.scores.total.tolist() == [
        float(text[1] == "0") for text in collected.rollouts.texts
    ]
    assert collected.accuracies == {"a": 0.25, "b": 0.5, "c": 0.25, "d": 0.5}


def test_means_are_taken_inside_each_group() -> None:
    values, prompt = torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0, 0.25]), torch.tensor([0, 0, 0, 1, 2, 2])
    assert group_means(values, prompt, 3).tolist() == pytest.approx([0.5, 1.0, 0.625])
