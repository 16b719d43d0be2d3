"""LLaVA-OneVision: the only image of a prompt is also cut into tiles, several images are not."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import LlavaOnevisionProcessor

from g2rpo.policy.family.processor import ProcessorEncoder, ProcessorFamily
from g2rpo.records import PromptBatch


class AnyResolutionEncoder(ProcessorEncoder):
    """Keeps the tiles of each image together with the size of the image."""

    def split(self, out: Any, images: int) -> list[dict[str, Tensor]]:
        """Return the tiles of each image, and its height and width in pixels."""
        return [
            {"pixel_values": out["pixel_values"][i], "image_sizes": out["image_sizes"][i : i + 1]}
            for i in range(images)
        ]


class LlavaOnevision(ProcessorFamily):
    """The features of an image depend on its size: padding is cut off, and rows get a separator."""

    model_types = ("llava_onevision",)
    no_vllm = ""
    served = "yes"
    encoder_class = AnyResolutionEncoder

    def processor_class(self) -> Any:
        """Return the class of the processor."""
        return LlavaOnevisionProcessor

    def image_features(self, policy: Any, batch: PromptBatch) -> Any:
        """Run the vision tower over the tiles of all images."""
        counts = batch.num_images[batch.num_images > 0]
        return policy.model.get_image_features(
            **batch.image_inputs(), batch_num_images=counts, return_dict=True
        )

    def taken_features(self, features: Any, batch: PromptBatch, images: Sequence[int]) -> Any:
        """Return the features of some images, which transformers holds in one tensor per image."""
        return type(features)(pooler_output=tuple(features.pooler_output[i] for i in images))
