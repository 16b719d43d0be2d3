"""A batch in flight: complete when its last group is judged, and the same after a checkpoint."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fakes import IdEncoder
from simulated_engines import SimulatedEngine

from g2rpo.records import Failed, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.in_flight import DrawInFlight, restore, saved
from g2rpo.training.plain_values import join_tensors, split_tensors


@pytest.fixture
def group() -> Callable[..., Rollouts]:
    """`group(3, version=2)`: so many completions of weights after two updates."""

    def make(size: int, version: int) -> Rollouts:
        engine = SimulatedEngine()
        engine.start(None, IdEncoder())
        engine.version = version
        return engine.group(Sampling(group_size=size, max_new_tokens=6), f"{size}/{version}")

    return make


@pytest.fixture
def complete(made: Callable[..., PromptBatch], group: Any) -> DrawInFlight:
    """Two prompts with two and three completions, of which the last could not be judged."""
    draw = DrawInFlight(made(("a", "math", 0), ("b", "chart", 1)), seed=7)
    draw.judged(1, group(3, version=6), [{"total": 1.0}, {"total": 0.5}, Failed(reason="hung")])
    assert not draw.done.done()
    draw.judged(0, group(2, version=4), [{"total": 0.0}, {"total": 0.25, "log/words": 3.0}])
    assert draw.done.done()
    return draw


def test_groups_are_in_the_order_of_the_prompts_whatever_arrives_first(
    complete: DrawInFlight,
) -> None:
    assert complete.rollouts.prompt.tolist() == [0, 0, 1, 1, 1]
    assert complete.rollouts.texts == complete.groups[0].texts + complete.groups[1].texts


def test_a_group_is_stale_by_its_oldest_token(complete: DrawInFlight) -> None:
    complete.groups[1].weight_versions[2, 0] = 5
    assert complete.stale(7, most=3) == []
    assert complete.stale(8, most=3) == [0]
    assert complete.stale(9, most=3) == [0, 1]


def test_a_complete_draw_is_the_same_after_a_checkpoint(complete: DrawInFlight) -> None:
    text, tensors = split_tensors(saved(complete))
    again = DrawInFlight(complete.batch, complete.seed)
    restore(again, join_tensors(text, tensors.__getitem__))
    again.done.result(0)
    assert again.outcomes == complete.outcomes
    for name in ("completion_ids", "completion_mask", "old_logprobs", "prompt", "weight_versions"):
        assert torch.equal(getattr(again.rollouts, name), getattr(complete.rollouts, name))
    assert again.rollouts.texts == complete.rollouts.texts


def test_what_is_incomplete_or_failed_is_not_saved(
    complete: DrawInFlight, made: Callable[..., PromptBatch]
) -> None:
    draw = DrawInFlight(made(("a", "math", 0), ("b", "chart", 1)), seed=7)
    assert saved(draw) is None
    draw.judged(0, complete.groups[0], [{"total": 0.0}])
    assert saved(draw) is None
    draw.fail(ValueError("lost"))
    assert saved(draw) is None
    with pytest.raises(ValueError, match="lost"):
        draw.done.result(0)
