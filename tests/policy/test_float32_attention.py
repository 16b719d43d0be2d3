"""Attention in float32 within bfloat16: the same numbers as sdpa, image by image."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from g2rpo.data.gym.source import GymSource
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.float32_attention import use_float32_attention
from g2rpo.policy.packing import supervised_batch, target_logprobs
from g2rpo.records import Prompt


def prompts(sizes: tuple[tuple[int, int], ...]) -> list[Prompt]:
    gym = GymSource()
    found = [gym.get("general_vqa", index, "train") for index in range(len(sizes))]
    return [
        Prompt(
            id=prompt.id,
            task=prompt.task,
            text=prompt.text,
            images=(prompt.images[0].resize(size, Image.Resampling.NEAREST),),
            answer=prompt.answer,
            answer_type=prompt.answer_type,
        )
        for prompt, size in zip(found, sizes, strict=True)
    ]


@pytest.fixture
def numbers() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """`numbers(sizes, precision, float32=True)`: log-probabilities, and the gradient of the vision
    tower's first projection.
    """
    checkpoint = Checkpoint.packaged(name="tiny_qwen3_vl")
    encoder, policy = checkpoint.encoder(), checkpoint.policy()

    def run(sizes: Any, precision: str = "32-true", *, float32: bool = False) -> Any:
        own = copy.deepcopy(policy)
        own.compute_dtype = torch.bfloat16 if precision == "bf16-mixed" else None
        if float32:
            use_float32_attention(own)
        completions = [encoder.tokenize("red circle 1 1.") for _ in sizes]
        batch = supervised_batch(
            own, encoder.encode(prompts(sizes)), completions, encoder.pad_token_id, 128
        )
        logprobs = target_logprobs(own, batch)
        logprobs.mean().backward()
        return logprobs.detach(), own.model.visual.patch_embed.proj.weight.grad

    return run


@pytest.mark.parametrize("sizes", [((64, 64),) * 3, ((64, 64), (96, 32), (64, 32))])
def test_the_numbers_are_those_of_sdpa(numbers: Any, sizes: Any) -> None:
    for own, expected in zip(numbers(sizes, float32=True), numbers(sizes), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


def test_within_bfloat16_the_numbers_stay_close_to_float32(numbers: Any) -> None:
    sizes = ((64, 64),) * 3
    exact = numbers(sizes)[0]
    mixed = numbers(sizes, "bf16-mixed", float32=True)[0]
    assert 0 < (mixed - exact).abs().max() < 0.2
