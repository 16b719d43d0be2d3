import itertools
from collections import Counter

import pytest

from g2rpo.data.gym.hard import FILLER, STEPS, TASKS, HardGymHabits, HardGymSource
from g2rpo.records import Prompt
from g2rpo.reward.hard_gym import JUDGES, HardGymReward

SOURCE = HardGymSource()


def prompts(task: str, count: int, split: str = "train") -> list[Prompt]:
    return [SOURCE.get(task, index, split) for index in range(count)]


def success(task: str, count: int = 4000, habits: HardGymHabits | None = None) -> float:
    habits, reward = habits or HardGymHabits(), HardGymReward()
    found = [
        reward.score(habits.demonstrate(prompt), prompt)["log/accuracy"]
        for prompt in prompts(task, count)
    ]
    return sum(found) / count


def test_the_same_arguments_give_the_same_prompt_and_the_seed_changes_the_order_alone() -> None:
    again, other = HardGymSource(), HardGymSource(seed=1)
    assert [again.get("fair", i, "train") for i in range(40)] == prompts("fair", 40)
    theirs = [other.get("fair", i, "train") for i in range(40)]
    assert theirs != prompts("fair", 40)
    assert {p.text: p.answer for p in theirs} == {p.text: p.answer for p in prompts("fair", 40)}


@pytest.mark.parametrize("task", TASKS)
def test_held_out_prompts_ask_for_every_key_equally_often(task: str) -> None:
    keys = Counter(prompt.text for prompt in prompts(task, 24, "heldout"))
    assert list(keys.values()) == [3] * 8
    assert {p.text for p in prompts(task, 200)} == set(keys)


@pytest.mark.parametrize("task", TASKS)
def test_the_right_answer_is_worth_an_accuracy_of_one_and_the_reward_knows_every_task(
    task: str,
) -> None:
    assert set(JUDGES) == set(TASKS)
    for prompt in prompts(task, 8, "heldout"):
        assert HardGymReward().score(prompt.answer, prompt)["log/accuracy"] == 1


def test_north_and_south_differ_in_the_last_word_and_want_opposite_digits() -> None:
    pairs = zip(prompts("north", 8, "heldout"), prompts("south", 8, "heldout"), strict=True)
    for north, south in pairs:
        assert north.text.split()[:2] == south.text.split()[:2] == ["compass", north.meta["key"]]
        assert int(north.answer) + int(south.answer) == 9


def test_a_chain_counts_up_and_returns_to_zero_after_nine() -> None:
    for prompt in prompts("chain", 8, "heldout"):
        digits = [int(word) for word in prompt.answer.split()]
        assert len(digits) == STEPS
        assert all((b - a) % 10 == 1 for a, b in itertools.pairwise(digits))


@pytest.mark.parametrize(
    ("task", "share"),
    # one of a hundred codes, one of ten digits, one of two digits
    [("needle", 0.01), ("fair", 0.1), ("noisy", 0.1), ("north", 0.5), ("south", 0.5)],
)
def test_success_begins_at_the_share_that_the_habits_set(task: str, share: float) -> None:
    four_sigma = 4 * (share * (1 - share) / 4000) ** 0.5
    assert success(task) == pytest.approx(share, abs=four_sigma)


def test_shares_of_habits_can_be_set() -> None:
    assert success("fair", 1000, HardGymHabits(right={"fair": 0.6})) == pytest.approx(0.6, abs=0.06)
    long = HardGymHabits(fillers=0.999)
    words = [len(long.demonstrate(prompt).split()) for prompt in prompts("brief", 50)]
    assert sum(words) / 50 > STEPS - 0.5
    assert all(FILLER in HardGymHabits(fillers=0.999).demonstrate(p) for p in prompts("brief", 20))
    steps = HardGymHabits(goes_on=0.0)
    assert {len(steps.demonstrate(prompt).split()) for prompt in prompts("chain", 20)} == {1}


def test_an_unknown_task_has_no_prompts_and_an_unknown_split_is_refused() -> None:
    assert SOURCE.size("math", "train") == 0
    with pytest.raises(IndexError, match=r"needle.*task='math'"):
        SOURCE.get("math", 0, "train")
    with pytest.raises(ValueError, match="split='test'"):
        SOURCE.size("needle", "test")


def test_settings_out_of_range_are_refused_with_their_key() -> None:
    with pytest.raises(ValueError, match=r"data.keys: .* 1 to 16 .* got 17"):
        HardGymSource(keys=17)
    with pytest.raises(ValueError, match=r"demonstrations: .*1\.5"):
        HardGymHabits(goes_on=1.5)
