"""docs/explanations/shared_prefix.md shows the attention that training uses."""

import pytest
import torch
import worked_prefix

from g2rpo.policy.padded_calls import PaddedCalls
from g2rpo.policy.shared_prefix import Groups
from g2rpo.policy.shared_softmax import PrefixAttention, merge


def test_the_page_has_the_tables_of_the_script() -> None:
    assert worked_prefix.page() == worked_prefix.PAGE.read_text()


def test_a_token_of_the_page_sees_what_the_attention_of_training_lets_it_see() -> None:
    row = worked_prefix.packed_row()
    groups = Groups(
        prompt_tokens=torch.tensor([len(text) for text in worked_prefix.PROMPTS]),
        completion_tokens=torch.tensor([len(x) for g in worked_prefix.COMPLETIONS for x in g]),
    )
    equal = torch.zeros(len(row), 1, len(row))  # every score is 0
    values = torch.eye(len(row))[:, None]  # the output is the weights
    weights = PrefixAttention.apply(equal, equal, values, groups, 1.0, PaddedCalls)[:, 0]
    shown = [[worked_prefix.part(token, other) > 0 for other in row] for token in row]
    assert (weights > 0).tolist() == shown


def test_parts_by_hand_are_merged_as_in_training() -> None:
    far, near, whole = map(worked_prefix.softmax, ("ABC", "pq", "ABCpq"))
    states = [torch.tensor([[number]]) for part in (far, near) for number in part]
    merged, lse = merge(states[0], states[1][0], states[2], states[3][0])
    assert (merged.item(), lse.item()) == pytest.approx(whole, abs=1e-5)


def test_the_ratio_is_that_of_tokens() -> None:
    # 8 x (512 + 32) = 4352 over 512 + 8 x 32 = 768
    assert worked_prefix.ratio(512, 8, 32) == pytest.approx(5.6667, abs=1e-3)
