"""The general road to a family: transformers' own processor and the usual layout of its models.

A processor with a part for videos requires torchvision, even for images. Here it is built without
that part, around the PIL image processor, so its texts and tensors are exactly those of
transformers on a machine without torchvision.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, ProcessorMixin

from g2rpo.policy.encoder import ChatEncoder
from g2rpo.policy.family.model_family import Family
from g2rpo.policy.remote_code import loading
from g2rpo.records import PromptBatch


class ImagesOnly(ProcessorMixin):  # type: ignore[misc]
    """Mixed into a processor class, it allows that there is no video processor."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Skip the check for the missing part."""
        if argument_name == "video_processor" and argument is None:
            return None
        return super().check_argument_for_proper_class(argument_name, argument)


class ProcessorEncoder(ChatEncoder):
    """Encodes prompts for one checkpoint folder.

    Args:
        path: Folder with tokenizer, chat template and processor, or a Hub id.
        processor_class: Class of the processor in transformers.
        options: Arguments of the image processor that its processor would add.
        min_pixels: Smaller images are scaled up to this number of pixels; None leaves them.
        max_pixels: Larger images are scaled down to this number of pixels; None leaves them.
    """

    def __init__(
        self,
        *,
        path: str | Path,
        processor_class: Any,
        options: dict[str, Any],
        min_pixels: int | None = None,
        max_pixels: int | None = None,
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(path, **loading(path))
        self.image_processor = _image_processor(path)
        self.processor = _processor(path, processor_class, self.image_processor, tokenizer)
        if tokenizer.chat_template is None:
            tokenizer.chat_template = self.processor.chat_template
        vision = [getattr(self.processor, f"{kind}_token", None) for kind in ("image", "video")]
        super().__init__(
            path=path,
            tokenizer=tokenizer,
            placeholder=self.processor.image_token,
            forbidden=[token for token in vision if token in tokenizer.get_vocab()],
        )
        self.options = options
        self.size = dict(self.image_processor.size)
        self.min_pixels, self.max_pixels = min_pixels, max_pixels
        self.works_on_gpus = getattr(self.image_processor, "backend", "pil") == "torchvision"

    def read(self, images: Sequence[Image.Image]) -> tuple[list[dict[str, Tensor]], list[str]]:
        """Process the images of a prompt, and let the processor write what stands for them."""
        place = {} if self.device.type == "cpu" else {"device": self.device}
        out = self.image_processor(
            [[self.fit(image) for image in images]], return_tensors="pt", **self.options, **place
        )
        texts = [self.processor.replace_image_token(out, index) for index in range(len(images))]
        return self.split(out, len(images)), texts

    def split(self, out: Any, images: int) -> list[dict[str, Tensor]]:
        """Return the tensors of each image; the default is one row of `pixel_values` each."""
        return [{"pixel_values": out["pixel_values"][i : i + 1]} for i in range(images)]

    def fit(self, image: Image.Image) -> Image.Image:
        """Return the image within the bounds of the settings; the shape is kept."""
        pixels = image.width * image.height
        if self.max_pixels is not None and pixels > self.max_pixels:
            return _scaled(image, math.sqrt(self.max_pixels / pixels), math.floor)
        if self.min_pixels is not None and pixels < self.min_pixels:
            return _scaled(image, math.sqrt(self.min_pixels / pixels), math.ceil)
        return image

    def pixels(self, image: dict[str, Tensor]) -> tuple[int, int]:
        """Return width and height of an image's crops."""
        height, width = image["pixel_values"].shape[-2:]
        return width, height


class ProcessorFamily(Family):
    """A model whose processor, vision tower and text layers follow transformers' conventions."""

    options: ClassVar[dict[str, Any]] = {}
    """Arguments of the image processor that its processor would add."""
    encoder_class: ClassVar[type[ProcessorEncoder]] = ProcessorEncoder
    # torchvision scales images with other rounding than PIL; `backend` would reach videos too.
    engine_options: ClassVar[dict[str, Any]] = {"mm_processor_kwargs": {"use_fast": False}}

    def processor_class(self) -> Any:
        """Return the class of the processor; imported only when it is needed."""
        raise NotImplementedError

    def encoder(
        self, *, path: str | Path, min_pixels: int | None, max_pixels: int | None
    ) -> ProcessorEncoder:
        """Load tokenizer and image processor of a checkpoint folder."""
        return self.encoder_class(
            path=path,
            processor_class=self.processor_class(),
            options=dict(self.options),
            min_pixels=min_pixels,
            max_pixels=max_pixels,
        )

    def taken_features(self, features: Any, batch: PromptBatch, images: Sequence[int]) -> Any:
        """Return the features of some images, which are rows of a tensor: one per crop."""
        counts = [len(image["pixel_values"]) for image in batch.images]
        parts = features.pooler_output.split(counts)
        return type(features)(pooler_output=torch.cat([parts[i] for i in images]))

    def patch_flops(self, policy: Any) -> tuple[float, float]:
        """Return the FLOPs of the vision tower per patch, and per pair of patches of a crop.

        The projector counts as if every patch passed it; it is small beside the tower.
        """
        vision = policy.config.vision_config
        weights = sum(
            parameter.numel()
            for name, parameter in self.vision_parameters(policy).items()
            if parameter.ndim > 1 and "position_embedding" not in name
        )
        return 2.0 * weights, 4.0 * vision.num_hidden_layers * vision.hidden_size

    def patches(self, policy: Any, batch: PromptBatch) -> Int[Tensor, " n"]:
        """Return the number of patches of every crop; they attend to each other."""
        patch = policy.config.vision_config.patch_size
        side = patch if isinstance(patch, int) else patch[0]
        crops = [image["pixel_values"].flatten(0, -4) for image in batch.images]
        return torch.tensor(
            [(crop.shape[-2] // side) * (crop.shape[-1] // side) for own in crops for crop in own]
        )


def _image_processor(path: str | Path) -> Any:
    try:
        return AutoImageProcessor.from_pretrained(path, backend="pil", **loading(path))
    except ImportError as error:
        raise ValueError(
            f"model.path={path}: the image processor needs torchvision; pip install -c"
            " constraints/gpu.txt -e .[processors]"
        ) from error


def _processor(path: str | Path, kind: Any, image_processor: Any, tokenizer: Any) -> Any:
    without_videos = type(kind.__name__, (ImagesOnly, kind), {"__init__": kind.__init__})
    parts = {"image_processor": image_processor, "tokenizer": tokenizer}
    args = [parts.get(name) for name in kind.get_attributes()]
    settings, _ = kind.get_processor_dict(path)
    return without_videos.from_args_and_dict(args, settings)


def _scaled(image: Image.Image, factor: float, rounded: Any) -> Image.Image:
    size = max(1, rounded(image.width * factor)), max(1, rounded(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)
