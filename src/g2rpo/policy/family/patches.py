"""Cut images of Qwen-VL into patches on any device, with the numbers of the image processor.

A picture travels to a GPU in 8 bits per color: its patches are eight times as large, because they
are float32 and hold each picture twice. transformers' own form for GPUs needs torchvision, and it
scales images with other rounding than the engines and the evaluations on a CPU. Here images are
scaled with PIL, ahead of time (data/loading.py), and only normalized and cut on the device.
"""

from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from g2rpo.host_copy import copied


class Patches:
    """Does what transformers' PIL image processor does to an image that has its final size.

    An 8-bit color has 256 levels, so the values of the processor fit a table. Values from this
    table are equal to the processor's on every device, to the bit.

    Args:
        processor: A `Qwen2VLImageProcessorPil`.
    """

    def __init__(self, processor: Any) -> None:
        self.size, self.merge = processor.patch_size, processor.merge_size
        self.frames = processor.temporal_patch_size
        levels = np.arange(256, dtype=np.uint8)[None, None].repeat(3, axis=0)
        values = processor.normalize(
            processor.rescale(levels, processor.rescale_factor),
            processor.image_mean,
            processor.image_std,
        )
        self.tables: dict[torch.device, Float[Tensor, "3 256"]] = {
            torch.device("cpu"): torch.from_numpy(values[:, 0].copy())
        }
        """Value of each level of each color, by device."""

    @classmethod
    def like(cls, processor: Any) -> Self | None:
        """Return the patches of an image processor; None if they would differ from its own.

        They differ if the checkpoint turns a part of the processing off, or if transformers changes
        its processor.
        """
        if not (processor.do_resize and processor.do_rescale and processor.do_normalize):
            return None
        patches, side = cls(processor), processor.patch_size * processor.merge_size
        rows, columns = 2 * side, 3 * side
        colors = (np.arange(rows * columns * 3) % 256).astype(np.uint8)  # all levels of each color
        picture = Image.fromarray(colors.reshape(rows, columns, 3))
        bounds = {"shortest_edge": side**2, "longest_edge": rows * columns}
        out = processor(images=[picture], return_tensors="pt", size=bounds)
        same = torch.equal(out["pixel_values"], patches(picture, torch.device("cpu")))
        return patches if same else None

    def __call__(self, image: Image.Image, device: torch.device) -> Float[Tensor, "n d"]:
        """Return the patches of an RGB image whose sides are multiples of the merged patch.

        Patches are in blocks of merge x merge, row by row; within a patch the order is channel,
        frame, row, column.
        """
        colors = copied(torch.from_numpy(np.array(image)), device)
        if device not in self.tables:
            self.tables[device] = copied(self.tables[torch.device("cpu")], device)
        table = self.tables[device]
        channels = [table[i].take(colors[..., i].long()) for i in range(3)]
        rows, columns = image.height // self.size, image.width // self.size
        blocks = torch.stack(channels).view(
            3,
            rows // self.merge,
            self.merge,
            self.size,
            columns // self.merge,
            self.merge,
            self.size,
        )
        patches = blocks.permute(1, 4, 2, 5, 0, 3, 6).unsqueeze(5)
        frames = patches.expand(*patches.shape[:5], self.frames, self.size, self.size)
        return frames.reshape(rows * columns, -1)
