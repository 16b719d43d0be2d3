"""Convert image patches back to images, for engines that process images themselves.

An engine resizes with other arithmetic than the trainer. These images already have their final
size, so the engine gets exactly the trainer's pixels.
"""

from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from g2rpo.records import PromptBatch


def unpatchify(image_processor: Any, batch: PromptBatch) -> list[list[Image.Image]]:
    """Return the images of each prompt of a batch of Qwen-VL, in their order."""
    images = iter(
        _image(
            image_processor,
            image["pixel_values"].float(),
            *image["image_grid_thw"][0, 1:].tolist(),
        )
        for image in batch.images
    )
    return [[next(images) for _ in range(count)] for count in batch.num_images.tolist()]


def _image(processor: Any, patches: Float[Tensor, "n d"], height: int, width: int) -> Image.Image:
    """Return one image from its patches; `height` and `width` are numbers of patches."""
    merge, size = processor.merge_size, processor.patch_size
    # The image processor orders patches in blocks of merge x merge, row by row; within a patch the
    # order is channel, frame, row, column.
    blocks = patches.view(
        height // merge, width // merge, merge, merge, -1, processor.temporal_patch_size, size, size
    )[..., 0, :, :]
    image = blocks.permute(0, 2, 5, 1, 3, 6, 4).reshape(height * size, width * size, -1)
    mean, std = (image.new_tensor(value) for value in (processor.image_mean, processor.image_std))
    values = ((image * std + mean) / processor.rescale_factor).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(values.cpu().numpy())
