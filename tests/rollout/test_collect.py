import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from closeness import same_images
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data.gym.source import TASKS
from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt, PromptBatch, Rollouts, Sampling
from g2rpo.rollout.collect import (
    KeepAll,
    OnlineFilter,
    collect,
    nothing_kept,
)
from g2rpo.rollout.draw import PER_DRAW
from g2rpo.rollout.kept_groups import WEIGHT, Collected, KeptShare, prompts_needed
from g2rpo.training.collecting import AnswerNow

Made = Callable[..., PromptBatch]
RIGHT, WRONG, MIXED = ("1", "1", "1"), ("0", "0", "0"), ("0", "1", "0")
TASK_OF = dict(zip("abcdefghijkl", TASKS * 2, strict=True))


class ScriptedEngine:
    """Writes for every prompt the three completions that the test has written down; token ids tell
    prompt and place in the group.
    """

    def __init__(self, script: dict[str, tuple[str, ...]]) -> None:
        self.script = script
        self.sampling = Sampling(group_size=3, max_new_tokens=8)
        self.asked: list[str] = []
        self.seeds: list[int] = []
        self.positions: list[list[int]] = []

    def start(self, policy: Any, encoder: Encoder) -> None:
        raise AssertionError("collect has no policy")

    def load_weights(self, policy: Any, step: int) -> None:
        raise AssertionError("collect has no policy")

    def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
        names = [prompt.id for prompt in batch.prompts]
        self.asked.append("".join(names))
        self.seeds.append(seed)
        self.positions.append(batch.position.tolist())
        width = 1 + len(self.asked)  # every draw has a longest completion of its own
        ids = torch.tensor(
            [
                [10 * ord(name) + place] * width
                for name in names
                for place in range(sampling.group_size)
            ]
        )
        return Rollouts(
            completion_ids=ids,
            completion_mask=torch.ones_like(ids, dtype=torch.bool),
            old_logprobs=-ids.float(),
            prompt=torch.arange(len(names)).repeat_interleave(sampling.group_size),
            finished=torch.ones(len(ids), dtype=torch.bool),
            texts=tuple(text for name in names for text in self.script[name]),
        )


class TextReward:
    """The completion is the accuracy; the total looks different for every prompt and completion;
    `?` cannot be judged.
    """

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = float(completion)
        return {
            "accuracy": accuracy,
            "format": 1.0,
            "structure": 0.0,
            "total": accuracy + len(completion) + ord(prompt.id),
        }


class Run:
    """`collect` on batches of named prompts: `Run(made, script, "abcd", "efgh")` draws the first
    batch, then the others.
    """

    def __init__(self, made: Made, script: dict[str, tuple[str, ...]], *names: str) -> None:
        self.engine = ScriptedEngine(script)
        self.made = made
        self.batches = [self.batch(name) for name in names]
        self.later = iter(self.batches[1:])
        self.missing: list[dict[str, int]] = []
        self.num_put_back = 0

    def batch(self, names: str | Sequence[str]) -> PromptBatch:
        """A prompt's number of images follows from its letter: 0, 1 or 2."""
        return self.made(*((name, TASK_OF[name], ord(name) % 3) for name in names))

    def _more(self, missing: dict[str, int]) -> PromptBatch:
        self.missing.append({task: lacks for task, lacks in missing.items() if lacks})
        return next(self.later)

    def _put_back(self) -> None:
        self.num_put_back += 1

    def __call__(
        self,
        group_filter: Any,
        failure_budget: float = 0.0,
        keep_shares: bool = False,
        kept_share: KeptShare | None = None,
    ) -> Collected:
        return collect(
            self.batches[0],
            self._more,
            AnswerNow(
                engine=self.engine,
                reward=TextReward(),
                sampling=self.engine.sampling,
                failure_budget=failure_budget,
                seed=500,
            ),
            group_filter=group_filter,
            keep_shares=keep_shares,
            kept_share=kept_share,
            put_back=self._put_back,
        )


def _assert_groups(collected: Collected, names: str, run: Run) -> None:
    """The groups of these prompts, in this order, with everything that belongs to them."""
    rollouts = collected.rollouts
    assert "".join(prompt.id for prompt in collected.batch.prompts) == names
    expected = run.batch(names)
    assert torch.equal(collected.batch.num_images, expected.num_images)
    assert same_images(collected.batch, expected)
    assert rollouts.prompt.tolist() == [row for row in range(len(names)) for _ in range(3)]
    assert rollouts.completion_ids[:, 0].tolist() == [
        10 * ord(name) + place for name in names for place in range(3)
    ]
    assert rollouts.texts == tuple(text for name in names for text in run.engine.script[name])
    totals = [
        float(text) + len(text) + ord(name)
        for name in names
        for text in run.engine.script[name]
        if text != "?"
    ]
    assert collected.scores.total[~collected.failed].tolist() == totals


def _per_task(names: str) -> Counter[str]:
    return Counter(TASK_OF[name] for name in names)


def test_groups_that_agree_are_replaced_and_the_order_is_kept(made: Made) -> None:
    script = {
        "a": MIXED,
        "b": RIGHT,
        "c": MIXED,
        "d": WRONG,
        "e": WRONG,
        "f": ("1", "0", "1"),
        "g": MIXED,
        "h": MIXED,
    }
    run = Run(made, script, "abcd", "efgh")
    collected = run(OnlineFilter())
    _assert_groups(collected, "acfg", run)  # h is informative too, but there is no room
    assert collected.draws == 2
    assert run.engine.seeds == [500, 500]
    assert run.engine.positions == [[*range(4)], [*range(PER_DRAW, PER_DRAW + 4)]]
    assert collected.drawn == _per_task("abcdefgh")
    assert collected.kept == _per_task("acfgh")  # a share of drawn prompts: h counts


def test_every_task_gets_its_share_of_the_groups_that_are_kept(made: Made) -> None:
    """a, b, c, d are the first draw, of which only a is informative."""
    script = dict.fromkeys("abcdefgh", MIXED) | {"b": RIGHT, "c": WRONG, "d": RIGHT}
    run = Run(made, script, "abcd", "efgh", "efgh")
    collected = run(OnlineFilter(max_draws=3), keep_shares=True)
    # e and f are of other tasks, g is of a's task, which has its group, and h is of b's
    assert "".join(prompt.id for prompt in collected.batch.prompts) == "ah"
    wanted = _per_task("abcd")
    assert run.missing == [wanted - _per_task("a"), wanted - _per_task("ab")]
    assert collected.places == [0, 1]
    assert collected.num_groups == 2


def test_without_shares_nothing_is_said_to_be_missing(made: Made) -> None:
    run = Run(made, {"a": MIXED, "b": RIGHT, "c": MIXED}, "ab", "cc")
    run(OnlineFilter())
    assert run.missing == [{}]


def test_completions_of_a_short_draw_are_padded_to_the_longest(made: Made) -> None:
    run = Run(made, {"a": MIXED, "b": RIGHT, "c": MIXED}, "ab", "cc")
    rollouts = run(OnlineFilter()).rollouts
    assert rollouts.completion_mask.tolist() == [[True, True, False]] * 3 + [[True, True, True]] * 3
    assert (rollouts.old_logprobs[:3, 2] == 0).all()


def test_a_batch_that_teaches_enough_is_taken_as_it_is(made: Made) -> None:
    run = Run(made, dict.fromkeys("abc", MIXED), "abc")
    collected = run(OnlineFilter())
    _assert_groups(collected, "abc", run)
    assert collected.batch is run.batches[0]
    assert (collected.draws, run.engine.asked) == (1, ["abc"])


def test_draws_are_bounded_and_the_step_goes_on_with_what_it_has(made: Made) -> None:
    script = {
        "a": RIGHT,
        "b": MIXED,
        "c": WRONG,
        "d": MIXED,
        "e": RIGHT,
        "f": WRONG,
        "g": MIXED,
        "h": MIXED,
    }
    run = Run(made, script, "abc", "def", "ggh", "hhh")
    collected = run(OnlineFilter(max_draws=2))
    _assert_groups(collected, "bd", run)
    assert (collected.draws, run.engine.asked) == (2, ["abc", "def"])
    assert (
        next(run.later) is run.batches[2]
    )  # no prompts were taken from the source that nobody was asked


def test_prompts_are_asked_for_only_while_there_is_room(made: Made) -> None:
    run = Run(made, {"a": MIXED, "b": RIGHT, "c": MIXED, "d": MIXED}, "ab", "cd", "ab")
    _assert_groups(run(OnlineFilter()), "ac", run)
    assert next(run.later) is run.batches[2]


def test_where_nothing_is_kept_the_last_draw_stands_for_the_step(made: Made) -> None:
    run = Run(made, {"a": RIGHT, "b": WRONG, "h": RIGHT}, "ab", "bh", "ab")
    collected = run(OnlineFilter(max_draws=2))
    _assert_groups(collected, "bh", run)
    assert (collected.empty, collected.draws, collected.num_groups, collected.places) == (
        True,
        2,
        2,
        [0, 1],
    )
    assert not any(collected.kept.values())


def test_the_message_about_nothing_to_learn_from_names_tasks_and_remedies() -> None:
    drawn = {"general_vqa": 2, "math": 4}
    message = (
        r"no group with mixed accuracy in 7 draws in a row, prompts of general_vqa, math\. .*"
        r" larger batch\.group_size, or filter=none"
    )
    assert re.search(message, nothing_kept(drawn, 7))


def test_every_groups_mean_accuracy_is_known_by_its_prompt(made: Made) -> None:
    script = {
        "a": MIXED,
        "b": RIGHT,
        "c": MIXED,
        "d": WRONG,
        "e": WRONG,
        "f": ("1", "0", "1"),
        "g": MIXED,
        "h": MIXED,
    }
    collected = Run(made, script, "abcd", "efgh")(OnlineFilter())
    means = {name: sum(map(float, script[name])) / 3 for name in "abcdefgh"}
    assert collected.accuracies == pytest.approx(means)


def test_without_a_filter_every_group_is_kept(made: Made) -> None:
    run = Run(made, {"a": RIGHT, "b": WRONG, "c": MIXED}, "abc", "ccc")
    collected = run(KeepAll())
    _assert_groups(collected, "abc", run)
    assert collected.draws == 1
    assert collected.kept == collected.drawn == _per_task("abc")


def test_the_filter_looks_at_the_accuracy_and_not_at_the_total(made: Made) -> None:
    # `1`, `1.0` and `1.00` are equally right, but of three different totals
    run = Run(made, {"a": ("1", "1.0", "1.00"), "b": MIXED}, "ab", "bb")
    _assert_groups(run(OnlineFilter()), "bb", run)


def test_completions_that_could_not_be_judged_are_told(made: Made) -> None:
    run = Run(made, {"a": RIGHT, "b": ("1", "?", "1"), "c": ("0", "1", "?")}, "ab", "cc")
    collected = run(OnlineFilter(), failure_budget=0.4)
    _assert_groups(collected, "bc", run)
    assert collected.failed.tolist() == [False, True, False, False, False, True]
    assert collected.scores.parts["accuracy"].tolist() == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]


def test_too_many_failures_in_a_later_draw_stop_the_run(made: Made) -> None:
    run = Run(made, {"a": RIGHT, "b": MIXED, "c": ("?", "?", "0")}, "ab", "cc")
    with pytest.raises(
        RuntimeError,
        match=r"4 of 6 completions could not be judged.*First: prompt 'c'.*completion '\?'",
    ):
        run(OnlineFilter(), failure_budget=0.5)


def test_a_further_draw_is_answered_as_far_as_groups_lack(made: Made) -> None:
    script = dict.fromkeys("abcdefghijkl", MIXED) | {"b": RIGHT, "g": WRONG, "h": WRONG}
    run = Run(made, script, "abcdef", "ghijkl")
    collected = run(OnlineFilter(), kept_share=KeptShare())
    # 5 of 6 were kept and 1 lacks: of 3 prompts, 2.5 +- 0.65 groups are kept, of 2 only 1.7 +- 0.53
    assert run.engine.asked == ["abcdef", "ghi"]
    _assert_groups(collected, "acdefi", run)
    assert collected.draws == 2
    assert run.engine.seeds == [500, 500]
    assert run.engine.positions == [[*range(6)], [PER_DRAW, PER_DRAW + 1, PER_DRAW + 2]]
    assert collected.drawn == _per_task("abcdefghi")
    assert sorted(collected.accuracies) == list("abcdefghi")


def test_the_rest_of_a_draw_is_answered_before_another_one_is_drawn(made: Made) -> None:
    script = dict.fromkeys("abcdefghijkl", MIXED) | dict.fromkeys("bghi", RIGHT)
    run = Run(made, script, "abcdef", "ghijkl")
    collected = run(OnlineFilter(max_draws=2), kept_share=KeptShare())
    assert run.engine.asked == [
        "abcdef",
        "ghi",
        "jkl",
    ]  # 5 of 9 were kept: 3 prompts do not surely do
    _assert_groups(collected, "acdefj", run)
    # completions are those of a draw answered at once
    assert run.engine.positions[2] == [PER_DRAW + 3, PER_DRAW + 4, PER_DRAW + 5]


def test_a_draw_is_answered_whole_as_long_as_nothing_was_kept(made: Made) -> None:
    script = dict.fromkeys("abcdef", RIGHT) | dict.fromkeys("ghi", MIXED)
    run = Run(made, script, "abc", "def", "ghi")
    _assert_groups(run(OnlineFilter(), kept_share=KeptShare()), "ghi", run)
    assert run.engine.asked == ["abc", "def", "ghi"]


def expecting(share: float) -> KeptShare:
    expected = KeptShare()
    expected.share = share
    return expected


def test_a_second_draw_that_will_be_needed_is_answered_with_the_first(made: Made) -> None:
    script = dict.fromkeys("abcdefghijkl", MIXED) | {"b": RIGHT, "g": WRONG}
    run, expected = Run(made, script, "abcdef", "ghijkl"), expecting(0.9)
    collected = run(OnlineFilter(), kept_share=expected)
    # of 8 prompts 7.2 +- 0.85 groups are kept, of 9 prompts 8.1 +- 0.9
    assert prompts_needed(6, 0.9) == 9
    assert run.engine.asked == ["abcdefghi"]
    assert run.engine.positions == [[*range(6), PER_DRAW, PER_DRAW + 1, PER_DRAW + 2]]
    _assert_groups(collected, "acdefh", run)
    assert collected.draws == 2
    assert collected.drawn == _per_task("abcdefghi")
    assert sorted(collected.accuracies) == list("abcdefghi")
    assert run.num_put_back == 0
    assert expected.share == pytest.approx((1 - WEIGHT) * 0.9 + WEIGHT * 7 / 9)


def test_a_second_draw_is_put_back_if_the_first_was_enough(made: Made) -> None:
    run, expected = Run(made, dict.fromkeys("abcdef", MIXED), "abc", "def"), expecting(0.9)
    collected = run(OnlineFilter(), kept_share=expected)
    assert run.engine.asked == ["abcd"]  # at most one and a half draws
    _assert_groups(collected, "abc", run)
    assert (collected.draws, run.num_put_back) == (1, 1)
    # nothing of it counts, as if it had not been drawn
    assert collected.drawn == _per_task("abc")
    assert sorted(collected.accuracies) == list("abc")
    assert expected.share == pytest.approx((1 - WEIGHT) * 0.9 + WEIGHT)


@pytest.mark.parametrize(("share", "max_draws"), [(1.0, 2), (0.5, 1), (None, 2)])
def test_one_draw_is_answered_alone_if_it_may_be_enough_or_must_be(
    share: float | None, max_draws: int, made: Made
) -> None:
    script = dict.fromkeys("abcdef", MIXED)
    expected = KeptShare() if share is None else expecting(share)
    run = Run(made, script, "abc", "def")
    _assert_groups(run(OnlineFilter(max_draws=max_draws), kept_share=expected), "abc", run)
    assert run.engine.asked == ["abc"]


def test_without_a_kept_group_two_draws_at_once_leave_those_of_the_second(made: Made) -> None:
    run, expected = Run(made, dict.fromkeys("abcdef", RIGHT), "abc", "def"), expecting(0.5)
    collected = run(OnlineFilter(max_draws=2), kept_share=expected)
    assert run.engine.asked == ["abcd", "ef"]
    _assert_groups(collected, "def", run)
    assert collected.empty
    assert expected.share == pytest.approx((1 - WEIGHT) * 0.5)


@settings(max_examples=50, deadline=None)
@given(
    groups=st.lists(st.sampled_from([RIGHT, WRONG, MIXED]), min_size=12, max_size=12),
    max_draws=st.integers(1, 4),
    share=st.none() | st.floats(0.05, 1.0),
)
def test_the_first_informative_groups_are_kept_whatever_is_drawn(
    groups: list[tuple[str, ...]], max_draws: int, share: float | None, made: Made
) -> None:
    script = dict(zip("abcdefghijkl", groups, strict=True))
    run = Run(made, script, "abc", "def", "ghi", "jkl")
    seen = "abcdefghijkl"[: 3 * max_draws]
    informative = "".join(name for name in seen if script[name] == MIXED)[:3]
    expected = KeptShare()
    expected.share = share
    collected = run(OnlineFilter(max_draws=max_draws), kept_share=expected)
    _assert_groups(collected, informative or seen[-3:], run)
    assert collected.empty == (not informative)


def test_a_group_is_kept_strictly_between_the_bounds() -> None:
    accuracy = torch.tensor([0.25, 0.5, 1.0, 0.75, 0.625])
    assert OnlineFilter(low=0.25, high=0.75).keeps(accuracy).tolist() == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert OnlineFilter(low=0.0, high=1.0).keeps(accuracy).tolist() == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert KeepAll().keeps(accuracy).tolist() == [True] * 5


@pytest.mark.parametrize("bounds", [{"low": 0.5, "high": 0.5}, {"low": -0.1}, {"high": 1.1}])
def test_bounds_without_anything_between_them_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(
        ValueError,
        match=r"filter: expected 0 <= low < high <= 1 \(mean accuracy of a group\), got low=",
    ):
        OnlineFilter(**bounds)


def test_at_least_one_batch_is_drawn() -> None:
    with pytest.raises(ValueError, match=r"filter\.max_draws: expected at least 1 batch, got 0"):
        OnlineFilter(max_draws=0)
