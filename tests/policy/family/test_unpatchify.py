import torch
from PIL import Image

from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import Prompt


def _image(width: int, height: int, seed: int) -> Image.Image:
    pixels = torch.randint(
        0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed)
    ).to(torch.uint8)
    return Image.fromarray(pixels.numpy())


def _prompt(name: str, *images: Image.Image) -> Prompt:
    return Prompt(
        id=name, task="math", text="?", images=images, answer="1", answer_type="numerical"
    )


def test_an_image_that_needs_no_resizing_comes_back_to_the_pixel(encoder: QwenEncoder) -> None:
    wide, tall = _image(96, 48, 1), _image(32, 80, 2)
    found = encoder.pictures(
        encoder.encode([_prompt("a", wide, tall), _prompt("b"), _prompt("c", tall)])
    )
    assert [len(group) for group in found] == [2, 0, 1]
    assert found[0][0].tobytes() == wide.tobytes()
    assert found[0][1].tobytes() == found[2][0].tobytes() == tall.tobytes()
    assert found[0][0].size == (96, 48)


def test_an_image_that_was_resized_gives_the_same_patches_once_more(encoder: QwenEncoder) -> None:
    batch = encoder.encode([_prompt("a", _image(131, 77, 3)), _prompt("b", _image(20, 20, 4))])
    again = encoder.encode(
        [_prompt(str(i), *images) for i, images in enumerate(encoder.pictures(batch))]
    )
    assert [encoder.pixels(image) for image in again.images] == [
        encoder.pixels(image) for image in batch.images
    ]
    # resizing leaves whole numbers of 255, so that nothing is lost by rounding
    for ours, theirs in zip(again.images, batch.images, strict=True):
        assert torch.allclose(ours["pixel_values"], theirs["pixel_values"], atol=1e-6)


def test_prompts_without_images_have_none(encoder: QwenEncoder) -> None:
    assert encoder.pictures(encoder.encode([_prompt("a"), _prompt("b")])) == [[], []]
