"""Draws in flight: order, scores on arrival, age, errors, and their form in a checkpoint."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fakes import IdEncoder
from simulated_engines import SimulatedEngine

from g2rpo.records import Failed, Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.ahead import AheadEngine, LookAhead
from g2rpo.rollout.hf import HFEngine
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.training.plain_values import join_tensors, split_tensors

Made = Callable[..., PromptBatch]
FIRST, SECOND = ("a", "math", 0), ("b", "chart", 1)
SIZE = 3


class TextReward:
    """The completion is a number, which is its accuracy; `seen` has the prompts in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.scored = threading.Event()

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        self.seen.append(prompt.id)
        self.scored.set()
        if prompt.id == "?":
            raise ValueError("no answer")
        return {"accuracy": float(completion), "total": 2 * float(completion)}


def looking(engine: SimulatedEngine, reward: Any, **options: Any) -> LookAhead:
    engine.start(None, IdEncoder())
    return LookAhead(
        engine,
        reward,
        Sampling(group_size=SIZE, max_new_tokens=6),
        **{"failure_budget": 1.0, "seed": 3, "group_size_of": {}, "max_staleness": 2} | options,
    )


def equal(left: Rollouts, right: Rollouts) -> bool:
    return left.texts == right.texts and all(
        torch.equal(getattr(left, name), getattr(right, name))
        for name in ("completion_ids", "completion_mask", "old_logprobs", "prompt", "finished")
    )


def test_answers_come_in_the_order_of_the_draws_with_whole_groups(made: Made) -> None:
    ahead = looking(SimulatedEngine(ahead=1), TextReward(), group_size_of={"chart": 2})
    batches = [made(FIRST, SECOND, ("c", "math", 2)), made(("d", "chart", 0))]
    for batch in batches:
        ahead.submit(batch)
    assert len(ahead) == 2
    rollouts, scored = ahead.take(batches[0])
    assert rollouts.prompt.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]  # two completions of the chart
    assert scored.scores.accuracy.tolist() == pytest.approx([float(t) for t in rollouts.texts])
    assert scored.scores.total.tolist() == pytest.approx([2 * float(t) for t in rollouts.texts])
    assert (rollouts.weight_versions[rollouts.completion_mask] == 0).all()
    assert ahead.take(batches[1])[0].prompt.tolist() == [0, 0]
    ahead.submit(batches[0])
    with pytest.raises(AssertionError, match="another order"):
        ahead.take(batches[1])
    ahead.close()


def test_each_group_is_scored_when_it_arrives_and_not_after_the_last_one(made: Made) -> None:
    engine, reward = SimulatedEngine(ahead=1), TextReward()
    waited = []

    def before(prompt_id: str) -> None:
        if prompt_id == "b":
            waited.append(reward.scored.wait(10))

    engine.before_group = before
    ahead = looking(engine, reward)
    batch = made(FIRST, SECOND)
    ahead.submit(batch)
    ahead.take(batch)
    assert waited == [True]  # the second group was written after the first had been scored
    assert reward.seen == ["a"] * SIZE + ["b"] * SIZE


def test_a_reward_that_is_slow_does_not_hold_the_engine(made: Made) -> None:
    engine = SimulatedEngine(ahead=1)
    written, go_on = threading.Event(), threading.Event()

    class Slow(TextReward):
        def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
            assert go_on.wait(10)
            return super().score(completion, prompt)

    engine.before_group = lambda prompt_id: written.set() if prompt_id == "b" else None
    ahead = looking(engine, Slow())
    batches = [made(FIRST), made(SECOND)]
    for batch in batches:
        ahead.submit(batch)
    assert written.wait(10)  # the engine is at the second draw, the reward still at the first
    go_on.set()
    for batch in batches:
        ahead.take(batch)


def test_groups_that_are_too_old_are_asked_again_and_the_others_stay(made: Made) -> None:
    engine = SimulatedEngine(ahead=1)
    reward = TextReward()
    ahead = looking(engine, reward, max_staleness=2)
    batch = made(FIRST, SECOND)

    def before(prompt_id: str) -> None:
        engine.version = 4 if prompt_id == "a" else 5

    engine.before_group = before
    ahead.submit(batch)
    ahead._in_flight[0].done.result(10)
    engine.before_group = lambda prompt_id: None
    engine.version, ahead.step = 7, 7
    kept = ahead._in_flight[0].groups[1]
    rollouts, scored = ahead.take(batch)
    versions = rollouts.weight_versions.masked_fill(~rollouts.completion_mask, 99)
    assert versions.amin(1).tolist() == [7] * SIZE + [5] * SIZE
    assert rollouts.texts[SIZE:] == kept.texts
    assert scored.scores.accuracy.tolist() == pytest.approx([float(t) for t in rollouts.texts])
    assert engine.asked == [(0, ["a", "b"]), (7, ["a"])]
    assert ahead.num_asked_again == 1


def test_an_error_of_the_engine_or_the_reward_is_raised_where_the_draw_is_taken(made: Made) -> None:
    engine, reward = SimulatedEngine(ahead=1), TextReward()

    def before(prompt_id: str) -> None:
        if prompt_id == "b":
            raise ValueError("no GPU")

    engine.before_group = before
    ahead = looking(engine, reward, failure_budget=0.0)
    batches = [made(SECOND), made(("?", "math", 0)), made(FIRST)]
    for batch in batches:
        ahead.submit(batch)
    with pytest.raises(ValueError, match="no GPU"):
        ahead.take(batches[0])
    with pytest.raises(RuntimeError, match=r"reward: 3 of 3 .* First: prompt '\?': .*no answer"):
        ahead.take(batches[1])
    assert len(ahead.take(batches[2])[0].texts) == SIZE  # the next draw is not affected


def test_closing_ends_the_engine_and_asks_for_nothing_more(made: Made) -> None:
    engine = SimulatedEngine(ahead=1)
    at_work, go_on = threading.Event(), threading.Event()

    def before(prompt_id: str) -> None:
        at_work.set()
        assert go_on.wait(10)

    engine.before_group = before
    ahead = looking(engine, TextReward())
    for batch in (made(FIRST, SECOND), made(("c", "math", 0))):
        ahead.submit(batch)
    assert at_work.wait(10)
    threads = ahead._threads
    ahead.close()
    go_on.set()
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert [ids for _, ids in engine.asked] == [["a", "b"]]


def test_complete_draws_are_saved_and_others_are_asked_again_with_their_seeds(made: Made) -> None:
    batches = [made(FIRST, ("?", "math", 1)), made(SECOND), made(("d", "math", 0))]
    undisturbed = looking(SimulatedEngine(ahead=1), TextReward())
    for batch in batches:
        undisturbed.submit(batch)
    expected = [undisturbed.take(batch) for batch in batches]

    engine, stop = SimulatedEngine(ahead=1), threading.Event()

    def before(prompt_id: str) -> None:
        if prompt_id == "d":
            stop.wait(10)

    engine.before_group = before
    killed = looking(engine, TextReward())
    for batch in batches:
        killed.submit(batch)
    assert equal(killed.take(batches[0])[0], expected[0][0])
    killed._in_flight[0].done.result(10)  # complete, and never taken
    text, tensors = split_tensors(killed.state_dict())
    stop.set()

    engine = SimulatedEngine(ahead=1)
    engine.version = 9
    resumed = looking(engine, TextReward(), max_staleness=9)
    resumed.load_state_dict(join_tensors(text, tensors.__getitem__))
    for batch in batches[1:]:
        resumed.submit(batch)
    for batch, (rollouts, scored) in zip(batches[1:], expected[1:], strict=True):
        found, scores = resumed.take(batch)
        assert equal(found, rollouts)
        assert torch.equal(scores.scores.total, scored.scores.total)
        assert torch.equal(scores.failed, scored.failed)
    assert engine.asked == [(9, ["d"])]


def test_failures_and_versions_survive_a_checkpoint(made: Made) -> None:
    batch = made(("?", "math", 0), FIRST)
    engine = SimulatedEngine(ahead=1)
    engine.version = 5
    before = looking(engine, TextReward())
    before.submit(batch)
    before._in_flight[0].done.result(10)
    text, tensors = split_tensors(before.state_dict())
    after = looking(SimulatedEngine(ahead=1), TextReward())
    after.load_state_dict(join_tensors(text, tensors.__getitem__))
    after.submit(batch)
    outcomes = after._in_flight[0].outcomes
    assert all(isinstance(outcome, Failed) for outcome in outcomes[0])
    assert "no answer" in outcomes[0][0].reason
    assert outcomes == before._in_flight[0].outcomes
    after.step = 5
    rollouts, scored = after.take(batch)
    assert scored.failed.tolist() == [True] * SIZE + [False] * SIZE
    assert (rollouts.weight_versions[rollouts.completion_mask] == 5).all()


def test_colocated_engines_refuse_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"rollout\.ahead: expected 0, because the policy that le"):
        HFEngine(max_new_tokens=4, ahead=1)
    with pytest.raises(ValueError, match=r"rollout\.ahead: .*shares the trainer's devices.*got 2"):
        VLLMEngine(max_new_tokens=4, ahead=2)
    assert isinstance(SimulatedEngine(), AheadEngine)
    assert not isinstance(HFEngine(max_new_tokens=4), AheadEngine)
