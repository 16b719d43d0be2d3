from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_families import Case
from transformers import AutoImageProcessor

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


class RecordsDevice:
    """An image processor of the torchvision or the PIL backend that remembers where it works."""

    def __init__(self, real: Any, backend: str) -> None:
        self.real, self.backend, self.devices = real, backend, []

    def __call__(self, images: Any, device: Any = None, **more: Any) -> Any:
        self.devices.append(device)
        return self.real(images, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [("torchvision", [None, torch.device("cuda:0")]), ("pil", [None, None])],
)
def test_only_the_torchvision_backend_is_asked_to_work_on_a_gpu(
    backend: str, expected: list[Any], family_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = module._image_processor(family_folder("internvl"))
    fake = RecordsDevice(found, backend)
    monkeypatch.setattr(module, "_image_processor", lambda path: fake)
    monkeypatch.setattr(module, "_processor", _around(module._processor, found))
    encoder = Checkpoint(path=str(family_folder("internvl"))).encoder()
    encoder.read([Image.new("RGB", (40, 40))])
    encoder.process_on("cuda:0")
    encoder.read([Image.new("RGB", (40, 40))])
    assert fake.devices == expected


def _around(build: Any, real: Any) -> Any:
    """Let transformers build its processor around the real image processor: it checks the class."""
    return lambda path, kind, _, tokenizer: build(path, kind, real, tokenizer)


@pytest.mark.parametrize("kind", GENERAL)
def test_the_torchvision_backend_takes_a_device_and_rounds_colors_in_another_way(
    kind: str, family_folder: Callable[[str], Path]
) -> None:
    pytest.importorskip(
        "torchvision", reason="needs torchvision's image processors", exc_type=ImportError
    )
    encoder = Checkpoint(path=str(family_folder(kind))).encoder()
    processor = AutoImageProcessor.from_pretrained(family_folder(kind), backend="torchvision")
    image = Image.effect_noise((131, 77), 90).convert("RGB")
    ours = encoder.read([image])[0][0]["pixel_values"]
    encoder.image_processor, encoder.device = processor, torch.device("cpu")
    encoder.options = {**encoder.options, "device": torch.device("cpu")}
    theirs = encoder.read([image])[0][0]["pixel_values"]
    levels = (ours - theirs).abs().max() * min(processor.image_std) / processor.rescale_factor
    assert levels < 2.1  # of 255
