"""Convert image patches back to images, for engines that process images themselves.

An engine resizes with other arithmetic than the trainer. These images already have their final
size, so the engine gets exactly the trainer's pixels.
"""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from g2rpo.policy.encoder import QwenEncoder
from g2rpo.records import PromptBatch


def unpatchify(encoder: QwenEncoder, batch: PromptBatch) -> list[list[Image.Image]]:
    """Return the images of each prompt of a batch that `encoder` made, in their order."""
    if batch.pixel_values is None or batch.image_grid_thw is None:
        return [[] for _ in batch.prompts]
    grids = batch.image_grid_thw.tolist()
    patches = batch.pixel_values.float().cpu().split([t * h * w for t, h, w in grids])
    images = iter(
        [_image(encoder, own, h, w) for own, (_, h, w) in zip(patches, grids, strict=True)]
    )
    return [[next(images) for _ in range(count)] for count in batch.num_images.tolist()]


def _image(
    encoder: QwenEncoder, patches: Float[Tensor, "n d"], height: int, width: int
) -> Image.Image:
    """Return one image from its patches; `height` and `width` are numbers of patches."""
    processor = encoder.image_processor
    merge, size = processor.merge_size, processor.patch_size
    # The image processor orders patches in blocks of merge x merge, row by row; within a patch the
    # order is channel, frame, row, column.
    blocks = patches.view(
        height // merge, width // merge, merge, merge, -1, processor.temporal_patch_size, size, size
    )[..., 0, :, :]
    image = blocks.permute(0, 2, 5, 1, 3, 6, 4).reshape(height * size, width * size, -1)
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    values = ((image * std + mean) / processor.rescale_factor).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(values.numpy())
