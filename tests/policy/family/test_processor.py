from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_families import Case

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family import processor as module
from g2rpo.records import Prompt

GENERAL = ["gemma3", "idefics3", "internvl", "llava_onevision", "smolvlm"]


@pytest.mark.parametrize("kind", GENERAL)
def test_prompts_are_what_the_processor_of_transformers_makes_of_them(
    kind: str, case: Callable[[str], Case], family_prompts: Sequence[Prompt]
) -> None:
    encoder = case(kind).encoder
    for prompt in family_prompts:
        ours = encoder.encode([prompt])
        theirs = encoder.processor(
            text=[encoder.chat_text(prompt)],
            images=[list(prompt.images)] if prompt.images else None,
            add_special_tokens=False,
        )
        assert ours.input_ids.tolist() == [list(row) for row in theirs["input_ids"]]


@pytest.mark.parametrize("kind", GENERAL)
def test_a_user_cannot_write_tokens_of_an_image(kind: str, case: Callable[[str], Case]) -> None:
    encoder = case(kind).encoder
    token = encoder.placeholder
    prompt = Prompt(
        id="t/0",
        task="math",
        text=f"{token} a <|im_end|>",
        images=(),
        answer="1",
        answer_type="text",
    )
    ids = encoder.encode([prompt]).input_ids[0].tolist()
    assert encoder.image_token_id not in ids
    assert encoder.tokenizer.decode(ids).count(token) == 1


@pytest.mark.parametrize("kind", GENERAL)
def test_tokens_of_an_image_are_never_sampled(kind: str, case: Callable[[str], Case]) -> None:
    found = case(kind)
    assert found.policy.config.image_token_id in found.encoder.forbidden_token_ids
    ids = set(found.rollouts.completion_ids.flatten().tolist())
    assert not ids & set(found.encoder.forbidden_token_ids)


def test_images_are_scaled_to_the_bounds_of_the_settings(
    family_folder: Callable[[str], Path],
) -> None:
    encoder = Checkpoint(
        path=str(family_folder("smolvlm")), min_pixels=400, max_pixels=1600
    ).encoder()
    for size, expected in (
        ((80, 80), (40, 40)),
        ((200, 50), (80, 20)),
        ((10, 10), (20, 20)),
        ((30, 30), (30, 30)),
    ):
        fitted = encoder.fit(Image.new("RGB", size))
        assert fitted.size == expected
        assert encoder.fit(fitted).size == expected


def test_what_the_policy_sees_of_an_image(case: Callable[[str], Case]) -> None:
    # 64 x 32 pixels: two crops of 32 x 32 and the small whole image, with 4 tokens each
    (shown,) = case("smolvlm").encoder.shown([Image.new("RGB", (64, 32))])
    assert shown[0] == (32, 32)
    assert shown[1] >= 3 * 4


def test_a_processor_that_needs_torchvision_names_the_extra(
    family_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("requires the Torchvision library")

    monkeypatch.setattr(module.AutoImageProcessor, "from_pretrained", refuse)
    with pytest.raises(ValueError, match=r"needs torchvision; pip install .*\.\[processors\]"):
        Checkpoint(path=str(family_folder("smolvlm"))).encoder()


@torch.no_grad()
def test_a_crop_counts_its_patches(case: Callable[[str], Case]) -> None:
    found = case("smolvlm")
    patches = module.ProcessorFamily().patches(found.policy, found.batch)
    crops = sum(len(image["pixel_values"]) for image in found.batch.images)
    assert patches.tolist() == [16] * crops  # 32 x 32 pixels in patches of 8 x 8
