"""The interface of a model family, with defaults for the usual layout of transformers' models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.records import PromptBatch


class Family:
    """What sampling, training, sharding and exports must know about a kind of model.

    A subclass names its `model_types` and writes `encoder`; the rest it overrides where the model
    differs. It has no state and takes no arguments.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    """Values of `model_type` in config.json that belong to the family."""
    shares_prefix: ClassVar[bool] = True
    """Whether the text layers may read packed rows (`policy.prefix=shared`, packed cold start)."""
    no_vllm: ClassVar[str] = "is not tried with this family"
    """Why a vLLM engine cannot sample in training, as the end of a sentence; empty if it can: the
    engine reads the encoder's `unexpanded` ids and its `pictures`.
    """
    served: ClassVar[str] = "not tried"
    """How `checkpoints/final` fares in `vllm serve`, for docs/models.md."""
    engine_options: ClassVar[Mapping[str, Any]] = {}
    """Arguments of vLLM's `LLM` with which it reads images exactly as the encoder does."""
    estimated: ClassVar[bool] = False
    """Whether `estimate.py` knows what the layers keep for the backward pass."""

    def encoder(
        self, *, path: str | Path, min_pixels: int | None, max_pixels: int | None
    ) -> ChatEncoder:
        """Load tokenizer and image processor of a checkpoint folder.

        Args:
            path: Folder or Hub id.
            min_pixels: Minimum number of pixels per image; None keeps the bound of the folder.
            max_pixels: Maximum number of pixels per image; None keeps the bound of the folder.
        """
        raise NotImplementedError

    def optimize_layers(self, policy: Any) -> None:
        """Replace layers of a loaded policy that are slow in transformers by faster ones.

        Names, shapes and values of the weights stay, and results agree up to rounding.
        """

    def decoder(self, policy: Any) -> Any:
        """Return the language model, whose `layers` are sharded and get adapters."""
        return policy.get_decoder()

    def head(self, policy: Any) -> Any:
        """Return the projection of hidden states to the vocabulary."""
        return policy.get_output_embeddings()

    def vision_parameters(self, policy: Any) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that only images use: the vision tower and its projector."""
        text = {
            id(parameter)
            for part in (self.decoder(policy), self.head(policy))
            for parameter in part.parameters()
        }
        return {name: p for name, p in policy.named_parameters() if id(p) not in text}

    def vision_modules(self, policy: Any) -> dict[str, Any]:
        """Return the modules that only images pass, by their names."""
        text = {
            id(module)
            for part in (self.decoder(policy), self.head(policy))
            for module in part.modules()
        }
        return {name: module for name, module in policy.named_modules() if id(module) not in text}

    def positions(
        self, policy: Any, batch: PromptBatch
    ) -> tuple[Int[Tensor, "a p l"], Int[Tensor, " p"]]:
        """Return the positions of every prompt token on each axis, and the position of each
        prompt's first completion token. The default has one axis, which counts tokens.
        """
        counted = batch.attention_mask.cumsum(1)
        return (counted - 1).clamp(min=0)[None], counted[:, -1]

    def position_ids(self, positions: Int[Tensor, "a r s"]) -> Int[Tensor, "..."]:
        """Return positions as the model takes them: without the axis, if there is only one."""
        return positions if len(positions) > 1 else positions[0]

    def image_features(self, policy: Any, batch: PromptBatch) -> Any:
        """Run the vision tower once over all images of a batch, which has at least one."""
        return policy.model.get_image_features(**batch.image_inputs(), return_dict=True)

    def taken_features(self, features: Any, batch: PromptBatch, images: Sequence[int]) -> Any:
        """Return the features of some images, in this order; an image may occur several times.

        Args:
            features: Output of `image_features`.
            batch: The batch of these features.
            images: Indices of images.
        """
        raise NotImplementedError

    def patch_flops(self, policy: Any) -> tuple[float, float]:
        """Return the FLOPs of the vision tower per patch, and per pair of patches that attend to
        each other.
        """
        raise NotImplementedError

    def patches(self, policy: Any, batch: PromptBatch) -> Shaped[Tensor, " n"]:
        """Return the number of patches of every set of patches that attend to each other."""
        raise NotImplementedError

    def as_published(self, policy: Any, name: str, value: Shaped[Tensor, "..."]) -> Tensor:
        """Return a weight in the layout of published checkpoints, if transformers saves another.

        Args:
            policy: The model.
            name: Name of the weight in published checkpoints.
            value: The weight as `save_pretrained` would write it, of any shape.
        """
        return value

    def further_inputs(self, policy: Any, input_ids: Int[Tensor, "r s"]) -> Mapping[str, Tensor]:
        """Return further arguments of a forward pass over whole rows, such as token types."""
        return {}
