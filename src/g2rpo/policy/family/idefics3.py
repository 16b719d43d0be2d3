"""Idefics3 and SmolVLM: a large image is cut into square crops, which follow its small version."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import Idefics3Processor

from g2rpo.policy.family.processor import ProcessorEncoder, ProcessorFamily
from g2rpo.records import PromptBatch


class CropEncoder(ProcessorEncoder):
    """Keeps the crops of each image together."""

    def split(self, out: Any, images: int) -> list[dict[str, Tensor]]:
        """Return the crops of each image, with True where a pixel is no padding."""
        grids = zip(out["rows"][0], out["cols"][0], strict=True)
        counts = [int(rows) * int(columns) + 1 for rows, columns in grids]
        names = ("pixel_values", "pixel_attention_mask")
        return [
            dict(zip(names, crops, strict=True))
            for crops in zip(*(out[name][0].split(counts) for name in names), strict=True)
        ]


class Idefics3(ProcessorFamily):
    """Crops of one size."""

    model_types = ("idefics3", "smolvlm")
    no_vllm = ""
    served = "yes; SmolVLM needs num2words"
    options: ClassVar[dict[str, Any]] = {"return_row_col_info": True}
    encoder_class = CropEncoder

    def processor_class(self) -> Any:
        """SmolVLM's own processor writes the same for images, but needs num2words for videos."""
        return Idefics3Processor

    def image_features(self, policy: Any, batch: PromptBatch) -> Any:
        """Run the vision tower over the crops of all images, as if of one prompt."""
        inputs = {name: value[None] for name, value in batch.image_inputs().items()}
        features = policy.model.get_image_features(**inputs, return_dict=True)
        if not isinstance(features.pooler_output, Tensor):
            # transformers 5.24 joins the tokens of a prompt's crops
            crops = inputs["pixel_values"].shape[1]
            features.pooler_output = torch.cat(features.pooler_output).unflatten(0, (crops, -1))
        return features
