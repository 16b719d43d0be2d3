from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from closeness import near
from PIL import Image

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.forward import (
    completion_positions,
    encode_images,
    masked_logits,
    prompt_positions,
    repeat_images,
)
from g2rpo.records import Prompt

Ask = Callable[..., Prompt]
Noise = Callable[..., Image.Image]


def test_image_tokens_stand_in_rows_and_columns_and_text_counts_on_behind_them(
    policy: Any, encoder: QwenEncoder, ask: Ask, noise: Noise
) -> None:
    # 96 x 32 pixels (width x height): 2 rows of 6 visual tokens; padded by the longer second prompt
    batch = encoder.encode(
        [
            ask("why?", noise(0, 96, 32)),
            ask("why is that so, and what else do you see in there?", noise(1)),
        ]
    )
    positions, first = prompt_positions(policy, batch)
    real = batch.attention_mask[0].bool()
    ids = batch.input_ids[0][real].tolist()
    begin = ids.index(encoder.image_token_id)
    text_before = list(range(begin))
    after = len(ids) - begin - 12
    behind = list(range(begin + 6, begin + 6 + after))  # behind the longer side of the image
    expected = [
        text_before + [begin] * 12 + behind,
        text_before + [begin] * 6 + [begin + 1] * 6 + behind,
        text_before + [*range(begin, begin + 6)] * 2 + behind,
    ]
    assert not real.all()
    assert positions[:, 0, real].tolist() == expected
    assert first[0] == begin + 6 + after


def test_text_alone_is_counted_from_zero_and_padding_does_not_count(
    policy: Any, encoder: QwenEncoder, ask: Ask, noise: Noise
) -> None:
    batch = encoder.encode([ask("why?"), ask("why?", noise(0))])
    positions, first = prompt_positions(policy, batch)
    real = batch.attention_mask[0].bool()
    assert positions[:, 0, real].tolist() == [list(range(int(real.sum())))] * 3
    assert first[0] == real.sum()


def test_completions_count_on_from_their_prompt() -> None:
    assert (
        completion_positions(torch.tensor([7, 30]), 3, 3).tolist()
        == [[[7, 8, 9], [30, 31, 32]]] * 3
    )


@torch.no_grad()
def test_features_are_repeated_for_every_row_of_a_group(
    policy: Any, encoder: QwenEncoder, prompts: Sequence[Prompt]
) -> None:
    batch = encoder.encode(prompts)
    repeated = repeat_images(policy, encode_images(policy, batch), batch, 3)["image"]
    again = encode_images(policy, encoder.encode([prompt for prompt in prompts for _ in range(3)]))[
        "image"
    ]
    assert near(torch.cat(list(repeated.pooler_output)), torch.cat(list(again.pooler_output)))
    assert len(repeated.deepstack_features) == 2
    for ours, theirs in zip(repeated.deepstack_features, again.deepstack_features, strict=True):
        assert near(torch.cat(list(ours)), torch.cat(list(theirs)))


def test_no_images_have_no_features(policy: Any, encoder: QwenEncoder, ask: Ask) -> None:
    batch = encoder.encode([ask("why?")])
    assert repeat_images(policy, encode_images(policy, batch), batch, 4) == {}


@pytest.mark.parametrize(
    ("temperature", "divisor"), [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (0.0, 1.0)]
)
def test_logits_are_divided_by_the_temperature_and_forbidden_ones_minus_infinity(
    temperature: float, divisor: float, policy: Any
) -> None:
    hidden = torch.randn(3, 128, generator=torch.Generator().manual_seed(1))
    expected = hidden @ policy.lm_head.weight.T / divisor
    logits = masked_logits(policy.lm_head, hidden, (2, 9), temperature)
    assert (logits[:, [2, 9]] == float("-inf")).all()
    allowed = [i for i in range(logits.shape[1]) if i not in (2, 9)]
    assert near(logits[:, allowed], expected[:, allowed])


def test_positions_do_not_depend_on_what_stands_under_the_padding(
    policy: Any, encoder: QwenEncoder, ask: Ask, noise: Noise
) -> None:
    batch = encoder.encode([ask("why?", noise(0)), ask("why is that so?", noise(1), noise(2))])
    real = batch.attention_mask.bool()
    other = replace(batch, input_ids=batch.input_ids.where(real, 0))
    positions, others = prompt_positions(policy, batch), prompt_positions(policy, other)
    assert torch.equal(positions[0][:, real], others[0][:, real])
    assert torch.equal(positions[1], others[1])
