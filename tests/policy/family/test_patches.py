"""Patches of Qwen-VL: the image processor's numbers to the bit, wherever they are computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from g2rpo.policy.family.patches import Patches
from g2rpo.policy.family.qwen_vl import QwenEncoder

Noise = Callable[..., Image.Image]
CLIP = {"image_mean": OPENAI_CLIP_MEAN, "image_std": OPENAI_CLIP_STD}
HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CPU = torch.device("cpu")


def encoder_with(folder: Path, processor: Any, size: dict[str, int]) -> QwenEncoder:
    """Return an encoder that reads images with this processor."""
    encoder = QwenEncoder(path=folder)
    encoder.image_processor, encoder.size = processor, size
    encoder.patches = Patches.like(processor)
    return encoder


@pytest.mark.parametrize("colors", [CLIP, HALVES])
@pytest.mark.parametrize(("patch", "merge", "frames"), [(14, 2, 2), (16, 2, 2), (8, 1, 3)])
def test_patches_are_those_of_the_image_processor_to_the_bit(
    colors: dict[str, Any], patch: int, merge: int, frames: int, tiny_folder: Path, noise: Noise
) -> None:
    side, settings = patch * merge, {"merge_size": merge, "temporal_patch_size": frames}
    size = {"shortest_edge": 4 * side**2, "longest_edge": 30 * side**2}
    processor = Qwen2VLImageProcessorPil(patch_size=patch, size=size, **settings, **colors)
    encoder = encoder_with(tiny_folder, processor, size)
    assert encoder.patches is not None
    shapes = ((3 * side, 5 * side), (201, 77), (10, 11), (900, 300))  # as it is, and scaled
    images = [noise(seed, *shape) for seed, shape in enumerate(shapes)]
    images.append(Image.new("L", (2 * side, 3 * side), 77))
    ours, texts = encoder.read(images)
    theirs = encoder._processed([image.convert("RGB") for image in images])
    assert [len(text) for text in texts] == [
        len(image["pixel_values"]) // merge**2 * len(encoder.placeholder) for image in theirs
    ]
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine["image_grid_thw"], other["image_grid_thw"])
        assert torch.equal(mine["pixel_values"], other["pixel_values"])
        assert mine["pixel_values"].is_contiguous()


class Darker(Qwen2VLImageProcessorPil):
    """Normalizes as before, and then changes every value."""

    def patchify(self, image: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        return super().patchify(image * np.float32(0.5), *args, **kwargs)


@pytest.mark.parametrize(
    "processor",
    [
        Qwen2VLImageProcessorPil(do_normalize=False),
        Qwen2VLImageProcessorPil(do_rescale=False),
        Qwen2VLImageProcessorPil(do_resize=False),
        Darker(),
    ],
)
def test_a_processor_that_does_something_else_processes_images_itself_on_the_cpu(
    processor: Any, tiny_folder: Path, noise: Noise
) -> None:
    assert Patches.like(Qwen2VLImageProcessorPil()) is not None
    assert Patches.like(processor) is None
    size = {"shortest_edge": 28**2, "longest_edge": 56**2}
    encoder = encoder_with(tiny_folder, processor, size)
    (read,), _ = encoder.read([noise(1, 28, 56)])
    assert torch.equal(
        read["pixel_values"], encoder._processed([noise(1, 28, 56)])[0]["pixel_values"]
    )


def test_images_are_processed_on_the_device_of_the_encoder_and_the_rest_is_not(
    tiny_folder: Path, noise: Noise, ask: Callable[..., Any]
) -> None:
    encoder = QwenEncoder(path=tiny_folder)
    encoder.process_on("meta")  # stands in for a GPU
    batch = encoder.encode([ask("?", noise(1), noise(2, 131, 77))])
    assert [image["pixel_values"].device.type for image in batch.images] == ["meta", "meta"]
    assert {batch.input_ids.device, batch.images[0]["image_grid_thw"].device} == {CPU}
    encoder.process_on("cpu")
    assert encoder.encode([ask("?", noise(1))]).images[0]["pixel_values"].device == CPU


def test_patches_can_be_trained_on_after_a_validation_has_made_their_table(noise: Noise) -> None:
    """Lightning validates under inference mode, whose tensors no backward pass may keep."""
    patches = Patches.like(Qwen2VLImageProcessorPil())
    assert patches is not None
    with torch.inference_mode():
        patches.tables[CPU] = patches.tables[CPU].clone()  # as on the first use of a device
    weight = torch.ones(1176, 1, requires_grad=True)
    (patches(noise(1, 28, 28), CPU) @ weight).sum().backward()
    assert weight.grad is not None


def test_an_encoder_without_patches_stays_on_the_cpu(tiny_folder: Path) -> None:
    encoder = QwenEncoder(path=tiny_folder)
    encoder.works_on_gpus = False
    encoder.process_on("meta")
    assert encoder.device == CPU


def test_a_run_on_a_gpu_logs_where_images_are_processed(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = QwenEncoder(path=tiny_folder)
    with caplog.at_level("INFO", "g2rpo"):
        encoder.process_on("cpu")
        encoder.process_on("cuda:0")
        encoder.works_on_gpus = False
        encoder.process_on("cuda:0")
    assert caplog.messages == [f"images are processed on {place}" for place in ("cuda:0", "cpu")]
