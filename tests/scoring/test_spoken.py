import pytest

from g2rpo.scoring.spoken import spoken


@pytest.mark.parametrize(
    ("completion", "heard"),
    [
        ("<think>(1, 2)</think>(3, 4)", "(3, 4)"),
        ("<thinking>a</thinking>\n<answer> \\boxed{b} </answer> c", "b"),
        ("<thinking>never ends", ""),
        (" <answer>b</answer> ", " <answer>b</answer> "),
        ("\\boxed{b}", "\\boxed{b}"),
    ],
)
def test_thinking_is_left_out_and_nothing_else(completion: str, heard: str) -> None:
    assert spoken(completion) == heard
