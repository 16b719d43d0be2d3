"""Gemma 3: images of one size, whose tokens see each other in both directions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor
from transformers import Gemma3Processor

from g2rpo.policy.family.processor import ProcessorEncoder, ProcessorFamily


class Gemma3(ProcessorFamily):
    """Layers with a sliding window, and image tokens that attend to their whole image."""

    model_types = ("gemma3",)
    shares_prefix = False
    served = "starts; images differ on a CPU"
    no_vllm = (
        "does not let the tokens of an image see each other on a CPU, and is not tried on a GPU"
    )

    def processor_class(self) -> Any:
        """Return the class of the processor."""
        return Gemma3Processor

    def encoder(
        self, *, path: str | Path, min_pixels: int | None, max_pixels: int | None
    ) -> ProcessorEncoder:
        """Load tokenizer and image processor; the tokens around and of an image are forbidden."""
        encoder = super().encoder(path=path, min_pixels=min_pixels, max_pixels=max_pixels)
        tokenizer = encoder.tokenizer
        encoder.forbidden_token_ids = (
            tokenizer.boi_token_id,
            tokenizer.eoi_token_id,
            tokenizer.image_token_id,
        )
        return encoder

    def further_inputs(self, policy: Any, input_ids: Int[Tensor, "r s"]) -> Mapping[str, Tensor]:
        """Return 1 at the tokens of images, which attend to each other within an image."""
        return {"token_type_ids": (input_ids == policy.config.image_token_id).long()}
