import pytest

from g2rpo.records import Prompt
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.reward.outliers import OutlierReward

RULES = OpenVLThinkerReward()


def prompt(number: int) -> Prompt:
    return Prompt(
        id=f"p/{number}", task="math", text="?", images=(), answer="4", answer_type="numerical"
    )


def answers(count: int) -> list[tuple[str, Prompt]]:
    return [
        (f"<thinking>{i}</thinking><answer>{i % 7}</answer>", prompt(i % 50)) for i in range(count)
    ]


def test_only_the_total_errs_and_by_the_size_and_for_the_share() -> None:
    reward = OutlierReward(rules=RULES, share=0.2, size=-3.0)
    moved = []
    for completion, asked in answers(4000):
        ours, theirs = reward.score(completion, asked), RULES.score(completion, asked)
        assert {k: v for k, v in ours.items() if k != "total"} == {
            k: v for k, v in theirs.items() if k != "total"
        }
        moved.append(round(ours["total"] - theirs["total"], 9))
    assert set(moved) == {0.0, -3.0}
    share = sum(m != 0 for m in moved) / len(moved)
    assert (
        abs(share - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    )  # four standard deviations of a binomial share


def test_which_completions_is_decided_by_prompt_and_completion_together() -> None:
    first, second = (OutlierReward(rules=RULES, share=0.5, size=1.0) for _ in range(2))
    drawn = [first.errs(completion, asked) for completion, asked in answers(200)]
    assert drawn == [second.errs(completion, asked) for completion, asked in answers(200)]
    assert len({first.errs("same", prompt(i)) for i in range(40)}) == 2
    assert len({first.errs(f"other {i}", prompt(0)) for i in range(40)}) == 2


def test_the_ends_of_the_share_are_none_and_all() -> None:
    assert not any(OutlierReward(rules=RULES, share=0.0).errs(*pair) for pair in answers(100))
    assert all(OutlierReward(rules=RULES, share=1.0).errs(*pair) for pair in answers(100))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"share": 1.5}, "reward.share: .*1.5"), ({"size": float("inf")}, "reward.size: .*inf")],
)
def test_settings_out_of_range_are_refused_with_their_key(
    given: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        OutlierReward(rules=RULES, **given)
