import pytest

from g2rpo.records import Prompt
from g2rpo.reward.hard_gym import HardGymReward

RIGHT = HardGymReward(error_share=0.0, jitter=0.0)


def prompt(task: str, answer: str, number: int = 0) -> Prompt:
    return Prompt(id=f"p/{number}", task=task, text="?", images=(), answer=answer, answer_type=task)


@pytest.mark.parametrize(
    ("task", "answer", "completion", "reward", "accuracy"),
    [
        ("needle", "C J", "C J", 1.0, 1.0),
        ("needle", "C J", "C A", 0.0, 0.0),
        ("needle", "C J", "C J A", 0.0, 0.0),
        ("fair", "7", "7", 1.0, 1.0),
        ("fair", "7", "um 7", 1.0, 1.0),
        ("south", "7", "7", 0.1, 1.0),
        ("south", "7", "2", 0.0, 0.0),
        ("shades", "4 2", "4 2", 1.0, 1.0),
        ("shades", "4 2", "4 7", 0.8 + 0.2 * 94 / 99, 0.8),
        ("shades", "0 0", "9 9", 0.8, 0.0),
        ("shades", "4 2", "4", 0.8, 0.0),
        ("shades", "4 2", "4 A", 0.8, 0.0),
        ("chain", "8 9 0 1 2", "8 9 0 5 2", 0.6, 0.6),
        ("chain", "8 9 0 1 2", "9 9 0 1", 0.0, 0.0),
        ("brief", "3", "3", 1.0, 1.0),
        ("brief", "3", "3 um um", 0.64, 0.64),
        ("brief", "3", "4", 0.0, 0.0),
        ("brief", "3", "", 0.0, 0.0),
    ],
)
def test_rewards_worked_out_by_hand(
    task: str, answer: str, completion: str, reward: float, accuracy: float
) -> None:
    scores = RIGHT.score(completion, prompt(task, answer))
    assert scores["answer"] == pytest.approx(reward, abs=1e-12)
    assert scores["log/accuracy"] == pytest.approx(accuracy, abs=1e-12)
    form = 0.05 if completion and "um" not in completion else 0.0
    assert scores["format"] == form
    assert scores["total"] == pytest.approx(reward + form, abs=1e-12)


def errors(reward: HardGymReward, task: str, count: int = 4000) -> list[float]:
    """What the verifier adds to right answers, whose completions differ by fillers."""
    found = []
    for i in range(count):
        asked = prompt(task, "7" if task != "shades" else "0 7", i)
        found.append(reward.score(asked.answer, asked)["answer"] - 1.0)
    return found


def test_errors_come_at_their_share_with_a_pareto_tail_and_leave_accuracy_alone() -> None:
    reward = HardGymReward(error_share=0.2, error_scale=3.0, error_tail=1.2, error_most=100.0)
    found = errors(reward, "noisy")
    sizes = [error for error in found if error]
    assert len(sizes) / 4000 == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 4000) ** 0.5)
    assert 3.0 <= min(sizes) < 3.1
    assert max(sizes) <= 100
    # P(size > 30) = (30 / 3) ** -1.2 of a Pareto distribution
    share = 10**-1.2
    beyond = sum(size > 30 for size in sizes) / len(sizes)
    assert beyond == pytest.approx(share, abs=4 * (share / len(sizes)) ** 0.5)
    asked = prompt("noisy", "7")
    assert {reward.score("7", prompt("noisy", "7", i))["log/accuracy"] for i in range(50)} == {1.0}
    assert reward.score("6", asked)["log/accuracy"] == 0.0


def test_no_other_task_has_large_errors_and_shades_has_small_ones() -> None:
    reward = HardGymReward(error_share=1.0, jitter=0.01)
    assert set(errors(reward, "fair", 50)) == {0.0}
    small = errors(reward, "shades", 1000)
    assert -0.01 <= min(small) < -0.0099
    assert 0.0099 < max(small) <= 0.01
    assert abs(sum(small) / 1000) < 4 * 0.01 / 3**0.5 / 1000**0.5


def test_an_error_is_decided_by_prompt_and_completion_together() -> None:
    first, second = HardGymReward(error_share=0.5), HardGymReward(error_share=0.5)
    assert errors(first, "noisy", 100) == errors(second, "noisy", 100)
    asked = prompt("noisy", "7")
    wrong = [first.score(f"{i % 7} um " * (i + 1), asked)["answer"] for i in range(60)]
    assert 0 < sum(value > 0 for value in wrong) < 60


def test_a_prompt_of_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'p/0'.*needle.*'math'.*data=hard_gym"):
        RIGHT.score("7", prompt("math", "7"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"error_share": 1.5}, "reward.error_share: .*1.5"),
        ({"error_scale": 0.0}, "reward.error_scale: .*0.0"),
        ({"error_scale": 200.0}, "reward.error_scale: .*100.0.*200.0"),
        ({"error_tail": 0.0}, "reward.error_tail: .*0.0"),
        ({"jitter": -1.0}, "reward.jitter: .*-1.0"),
        ({"format_weight": float("inf")}, "reward.format_weight: .*inf"),
    ],
)
def test_settings_out_of_range_are_refused_with_their_key(
    given: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        HardGymReward(**given)
