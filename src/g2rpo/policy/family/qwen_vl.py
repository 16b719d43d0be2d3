"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3-VL-MoE: images of any size, positions on three axes.

transformers' `Qwen3VLProcessor` requires torchvision for its video processor. Tokenizer and PIL
image processor alone give the same tensors without it: each image placeholder of the chat template
is repeated once per merged patch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, Shaped
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.model_family import Family
from g2rpo.policy.family.patches import Patches
from g2rpo.policy.family.unpatchify import unpatchify
from g2rpo.policy.remote_code import loading
from g2rpo.policy.rms_norm import use_fast_norms
from g2rpo.policy.vision_tower import attend_by_size, project_patches_by_product
from g2rpo.records import PromptBatch

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", IMAGE_TOKEN, "<|video_pad|>")


class QwenEncoder(ChatEncoder):
    """Encodes prompts for one checkpoint folder.

    Args:
        path: Folder with `tokenizer.json`, a chat template and `preprocessor_config.json`.
        min_pixels: Smaller images are scaled up to this number of pixels; None keeps the bound of
            the folder.
        max_pixels: Larger images are scaled down to this number of pixels; None keeps the bound of
            the folder.
    """

    def __init__(
        self, *, path: str | Path, min_pixels: int | None = None, max_pixels: int | None = None
    ) -> None:
        super().__init__(
            path=path,
            tokenizer=AutoTokenizer.from_pretrained(path, **loading(path)),
            placeholder=IMAGE_TOKEN,
            forbidden=VISION_TOKENS,
        )
        self.image_processor = Qwen2VLImageProcessorPil.from_pretrained(path)
        size = dict(self.image_processor.size)
        self.size = {
            "shortest_edge": min_pixels or size["shortest_edge"],
            "longest_edge": max_pixels or size["longest_edge"],
        }
        self.patches = Patches.like(self.image_processor)
        self.works_on_gpus = self.patches is not None

    def read(self, images: Sequence[Image.Image]) -> tuple[list[dict[str, Tensor]], list[str]]:
        """Cut the images of a prompt into patches; each merged patch gets a placeholder."""
        read = self._processed(images) if self.patches is None else self._patched(images)
        merged = self.image_processor.merge_size**2
        return read, [IMAGE_TOKEN * (len(image["pixel_values"]) // merged) for image in read]

    def _processed(self, images: Sequence[Image.Image]) -> list[dict[str, Tensor]]:
        """Return the patches and the grid of each image, by the image processor."""
        out = self.image_processor(images=list(images), return_tensors="pt", size=self.size)
        grids = out["image_grid_thw"]
        patches = out["pixel_values"].split(grids.prod(1).tolist())
        return [
            {"pixel_values": own, "image_grid_thw": grid[None]}
            for own, grid in zip(patches, grids, strict=True)
        ]

    def _patched(self, images: Sequence[Image.Image]) -> list[dict[str, Tensor]]:
        """Return the same as `_processed`, with the patches on `device`."""
        assert self.patches is not None
        size, read = self.image_processor.patch_size, []
        for image in images:
            own = self.fit(image if image.mode == "RGB" else image.convert("RGB"))
            grid = torch.tensor([[1, own.height // size, own.width // size]])
            read.append({"pixel_values": self.patches(own, self.device), "image_grid_thw": grid})
        return read

    def fit(self, image: Image.Image) -> Image.Image:
        """Return the image at the size that the policy sees, which `encode` will not rescale.

        Raises:
            ValueError: The image's aspect ratio is too large for the image processor.
        """
        width, height = image.size
        factor = self.image_processor.patch_size * self.image_processor.merge_size
        bounds = {"min_pixels": self.size["shortest_edge"], "max_pixels": self.size["longest_edge"]}
        target = smart_resize(height, width, factor=factor, **bounds)[::-1]
        return (
            image if target == image.size else image.resize(target, self.image_processor.resample)
        )

    def pixels(self, image: dict[str, Tensor]) -> tuple[int, int]:
        """Return width and height of an image, which are whole numbers of patches."""
        _, rows, columns = image["image_grid_thw"][0].tolist()
        patch_px = self.image_processor.patch_size
        return columns * patch_px, rows * patch_px

    def pictures(self, batch: PromptBatch) -> list[list[Image.Image]]:
        """Return the images of each prompt of a batch, as the policy sees them."""
        return unpatchify(self.image_processor, batch)


class QwenVL(Family):
    """Whole images pass as patches of a fixed size; the merger belongs to the vision tower."""

    model_types = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
    no_vllm = ""
    served = "yes"
    estimated = True

    def encoder(
        self, *, path: str | Path, min_pixels: int | None, max_pixels: int | None
    ) -> QwenEncoder:
        """Load tokenizer and image processor of a checkpoint folder."""
        return QwenEncoder(path=path, min_pixels=min_pixels, max_pixels=max_pixels)

    def optimize_layers(self, policy: Any) -> None:
        """Project patches by a matrix product, attend to all images of a size in one call, and
        compute norms in fewer passes.
        """
        project_patches_by_product(policy)
        use_fast_norms(policy)
        attend_by_size(policy)

    def positions(
        self, policy: Any, batch: PromptBatch
    ) -> tuple[Int[Tensor, "3 p l"], Int[Tensor, " p"]]:
        """Return the M-RoPE positions (time, height, width) of every prompt token, and the position
        of each prompt's first completion token.
        """
        positions, deltas = policy.model.get_rope_index(
            batch.input_ids,
            mm_token_type_ids=(batch.input_ids == policy.config.image_token_id).int(),
            image_grid_thw=batch.image_inputs().get("image_grid_thw"),
            attention_mask=batch.attention_mask,
        )
        return positions, batch.attention_mask.sum(1) + deltas[:, 0]

    def as_published(self, policy: Any, name: str, value: Shaped[Tensor, "..."]) -> Tensor:
        """Swap input and output of experts [experts, out, in]: transformers does when it loads, not
        when it saves.
        """
        experts = policy.config.model_type == "qwen3_vl_moe" and ".mlp.experts." in name
        return value.transpose(1, 2) if experts else value

    def patch_flops(self, policy: Any) -> tuple[float, float]:
        """Return the FLOPs of the vision tower per patch, and per pair of patches of a frame."""
        visual, vision = policy.model.visual, policy.config.vision_config
        tower = merger = 0
        for name, parameter in visual.named_parameters():
            if "merger" in name and parameter.ndim > 1:
                merger += parameter.numel()
            elif "pos_embed" not in name and parameter.ndim > 1:
                tower += parameter.numel()
        width = visual.patch_embed.proj.weight.shape[0]
        return 2.0 * (tower + merger / vision.spatial_merge_size**2), 4.0 * vision.depth * width

    def patches(self, policy: Any, batch: PromptBatch) -> Int[Tensor, " n"]:
        """Return the number of patches of every frame; they attend to each other."""
        grids = batch.image_inputs()["image_grid_thw"]
        return torch.repeat_interleave(grids[:, 1] * grids[:, 2], grids[:, 0])

    def taken_features(self, features: Any, batch: PromptBatch, images: Sequence[int]) -> Any:
        """Return the features of some images, which transformers holds in one tensor per image."""
        taken = type(features)(pooler_output=tuple(features.pooler_output[i] for i in images))
        if hasattr(features, "deepstack_features"):  # Qwen3-VL has them, Qwen2.5-VL does not
            taken.deepstack_features = [
                tuple(level[i] for i in images) for level in features.deepstack_features
            ]
        return taken
