import math
from random import Random
from typing import Any

import pytest

from g2rpo.data.mixture import TaskMix
from g2rpo.data.mt_grpo import MTGRPO
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import TaskCurriculum
from g2rpo.records import Prompt

MIX = {"math": 1.0, "chart": 1.0, "spatial": 2.0}
SHARES = {"math": 0.25, "chart": 0.25, "spatial": 0.5}


def begun(**options: Any) -> MTGRPO:
    curriculum = MTGRPO(**options)
    curriculum.begin(SHARES)
    return curriculum


def after(curriculum: MTGRPO, **accuracies: list[float]) -> dict[str, float]:
    for task, values in accuracies.items():
        for value in values:
            curriculum.observe(task, 0, 0, value)
    curriculum.rebalance()
    return curriculum.shares()


def test_it_starts_with_the_shares_of_the_mixture() -> None:
    curriculum = begun()
    assert isinstance(curriculum, TaskCurriculum)
    assert curriculum.shares() == pytest.approx(SHARES)


def test_the_first_step_of_adam_by_hand() -> None:
    # J = (.5, 1, 0) and no change: u = .2 J = (.1, .2, 0), sum z u = .075. The slopes z (u - .075)
    # are (.00625, .03125, -.0375): Adam moves each by lr against its sign, by lr/(1 + 1e-8/slope)
    shares = after(begun(lr=0.1, weight_decay=0.0), math=[0.0, 1.0], chart=[1.0], spatial=[0.0])
    down, up = math.exp(-0.1), math.exp(0.1)
    total = 0.25 * down + 0.25 * down + 0.5 * up
    expected = {"math": 0.25 * down, "chart": 0.25 * down, "spatial": 0.5 * up}
    assert shares == pytest.approx({k: v / total for k, v in expected.items()}, rel=1e-6)


def test_a_task_that_improves_gives_way_to_one_that_is_equal_now_but_does_not() -> None:
    curriculum = begun(reward_weight=0.0, weight_decay=0.0)
    after(curriculum, math=[0.3], chart=[0.5], spatial=[0.5])
    before = curriculum.shares()
    # J of math rises from .3 to .5 (change .2, cut to .1), the others stay
    shares = after(curriculum, math=[0.7], chart=[0.5], spatial=[0.5])
    assert curriculum.accuracy == pytest.approx({"math": 0.5, "chart": 0.5, "spatial": 0.5})
    assert shares["math"] < before["math"]
    assert shares["chart"] / shares["spatial"] > before["chart"] / before["spatial"] * 0.99


def slow(batches: list[dict[str, list[float]]], lr: float, weight: float, decay: float) -> list:
    """Shares after each batch, with Adam written out over plain numbers."""
    tasks, x = list(SHARES), dict.fromkeys(SHARES, 0.0)
    first, second, level = dict(x), dict(x), {}

    def shares() -> dict[str, float]:
        raw = {task: SHARES[task] * math.exp(x[task]) for task in tasks}
        return {task: value / sum(raw.values()) for task, value in raw.items()}

    found = []
    for turn, batch in enumerate(batches, 1):
        z, u = shares(), {}
        for task in tasks:
            old = level.get(task)
            if task in batch:
                mean = sum(batch[task]) / len(batch[task])
                level[task] = mean if old is None else decay * old + (1 - decay) * mean
            change = 0.0 if old is None else max(-0.1, min(0.1, level[task] - old))
            u[task] = change + weight * level.get(task, 0.0)
        average = sum(z[task] * u[task] for task in tasks)
        for task in tasks:
            slope = z[task] * (u[task] - average) + 1e-5 * x[task]
            first[task] = 0.9 * first[task] + 0.1 * slope
            second[task] = 0.999 * second[task] + 0.001 * slope**2
            size = math.sqrt(second[task] / (1 - 0.999**turn)) + 1e-8
            x[task] -= lr * first[task] / (1 - 0.9**turn) / size
        found.append(shares())
    return found


def batches_of(rng: Random) -> list[dict[str, list[float]]]:
    drawn = [[task for task in SHARES if rng.random() < 0.8] for _ in range(5)]
    return [
        {task: [rng.randint(0, 8) / 8 for _ in range(rng.randint(1, 4))] for task in tasks}
        for tasks in drawn
    ]


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_runs_agree_with_adam_over_plain_numbers(count: int) -> None:
    rng = Random(0)
    for _ in range(count):
        batches, curriculum = batches_of(rng), begun(lr=0.05, reward_weight=0.3, decay=0.7)
        for batch, expected in zip(batches, slow(batches, 0.05, 0.3, 0.7), strict=True):
            assert after(curriculum, **batch) == pytest.approx(expected, rel=1e-6)


def test_a_resumed_run_has_the_same_shares_from_then_on() -> None:
    batches, curriculum, resumed = batches_of(Random(3)), begun(), begun()
    for batch in batches[:3]:
        after(curriculum, **batch)
    resumed.load_state_dict(curriculum.state_dict())
    for batch in batches[3:]:
        assert after(resumed, **batch) == after(curriculum, **batch)


class Endless:
    tasks = tuple(MIX)

    def size(self, task: str, split: str) -> int | None:
        return None

    def get(self, task: str, index: int, split: str) -> Prompt:
        return Prompt(
            id=f"{task}/{index}", task=task, text="", images=(), answer="", answer_type="text"
        )


def stream() -> PromptStream:
    return PromptStream(source=Endless(), mix=TaskMix(weights=MIX), seed=0, curriculum=MTGRPO())


def tasks_of(prompts: list[Prompt]) -> list[str]:
    return [prompt.task for prompt in prompts]


def test_the_stream_follows_the_shares_and_carries_fractions_over() -> None:
    draws = stream()
    counts = {task: 0 for task in MIX}
    for _ in range(10):
        peeked = draws.peek(2)
        drawn = draws.draw(2)
        assert [prompt.id for prompt in peeked] == [prompt.id for prompt in drawn]
        for task in tasks_of(drawn):
            counts[task] += 1
    assert counts == {"math": 5, "chart": 5, "spatial": 10}


def test_what_a_step_lacks_is_drawn_in_proportion_and_not_set_off_later() -> None:
    draws, plain = stream(), stream()
    assert tasks_of(draws.draw(4)) == tasks_of(plain.draw(4))
    more = tasks_of(draws.draw(6, {"math": 4, "chart": 2, "spatial": 0}))
    assert (more.count("math"), more.count("chart")) == (4, 2)
    assert tasks_of(draws.draw(7)) == tasks_of(plain.draw(7))


def test_a_resumed_stream_goes_on_with_the_shares_that_it_had() -> None:
    draws, resumed = stream(), stream()
    prompts = draws.draw(5)
    draws.observe({prompt.id: float(prompt.task == "math") for prompt in prompts})
    state = draws.state_dict()
    resumed.load_state_dict(state)
    assert draws.by_task.shares() == resumed.by_task.shares() != pytest.approx(SHARES)
    assert [p.id for p in draws.draw(9)] == [p.id for p in resumed.draw(9)]


@pytest.mark.parametrize(
    "options",
    [{"lr": 0.0}, {"reward_weight": -1.0}, {"decay": 1.0}, {"weight_decay": math.inf}],
    ids=str,
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=rf"^curriculum\.{next(iter(options))}: expected"):
        MTGRPO(**options)
