"""InternVL 3 in the format of transformers (`-hf`): an image is cut into tiles of one size."""

from typing import Any, ClassVar

from torch import Tensor
from transformers import InternVLProcessor

from g2rpo.policy.family.processor import ProcessorEncoder, ProcessorFamily


class TileEncoder(ProcessorEncoder):
    """Keeps the tiles of each image together."""

    def split(self, out: Any, images: int) -> list[dict[str, Tensor]]:
        """Return the tiles of each image."""
        tiles = out["pixel_values"].split(out["num_patches"].tolist())
        return [{"pixel_values": own} for own in tiles]


class InternVL(ProcessorFamily):
    """Tiles of one size, and a small version of the whole image."""

    model_types = ("internvl",)
    served = "yes"
    options: ClassVar[dict[str, Any]] = {"crop_to_patches": True}
    encoder_class = TileEncoder

    def processor_class(self) -> Any:
        """Return the class of the processor."""
        return InternVLProcessor
