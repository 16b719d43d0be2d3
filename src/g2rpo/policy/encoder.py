"""Encode prompts as model inputs, with the tokenizer and image processor of a Qwen-VL folder.

transformers' `Qwen3VLProcessor` requires torchvision for its video processor. Tokenizer and PIL
image processor alone give the same tensors without it: each image placeholder of the chat template
is repeated once per merged patch.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)
from transformers.utils import cached_file

from g2rpo.image import is_inline, open_image
from g2rpo.prompt import chat_messages
from g2rpo.records import Prompt, PromptBatch

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", IMAGE_TOKEN, "<|video_pad|>")


class QwenEncoder:
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
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.image_processor = Qwen2VLImageProcessorPil.from_pretrained(path)
        size = dict(self.image_processor.size)
        self.size = {
            "shortest_edge": min_pixels or size["shortest_edge"],
            "longest_edge": max_pixels or size["longest_edge"],
        }
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.eos_token_id = self.tokenizer.eos_token_id
        self.end_tokens = _end_tokens(path, self.tokenizer)
        self.pad_token_id = self.tokenizer.pad_token_id
        control = [
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        ]
        self._control = re.compile(
            "|".join(map(re.escape, sorted(control, key=len, reverse=True))) or "(?!)"
        )
        self.forbidden_token_ids = tuple(
            self.tokenizer.convert_tokens_to_ids(token) for token in VISION_TOKENS
        )

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        """Apply the chat template, cut images into patches, and pad on the left.

        Raises:
            ValueError: An image cannot be read; the message names the prompt.
        """
        images = [[_opened(image, prompt) for image in prompt.images] for prompt in prompts]
        patches = self._patches([image for group in images for image in group])
        grids = iter(patches["image_grid_thw"].tolist() if patches else [])
        rows = [
            self._token_ids(prompt, [next(grids) for _ in group])
            for prompt, group in zip(prompts, images, strict=True)
        ]
        input_ids, attention_mask = self._left_padded(rows)
        return PromptBatch(
            prompts=tuple(prompts),
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=patches["pixel_values"] if patches else None,
            image_grid_thw=patches["image_grid_thw"] if patches else None,
            num_images=torch.tensor([len(group) for group in images]),
        )

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

    def tokenize(self, completion: str) -> list[int]:
        """Return the token ids of a completion, including the end token."""
        ids: list[int] = self.tokenizer(completion, add_special_tokens=False)["input_ids"]
        return [*ids, self.eos_token_id]

    def decode(
        self, completion_ids: Int[Tensor, "b t"], completion_mask: Bool[Tensor, "b t"]
    ) -> tuple[str, ...]:
        """Return the text of each completion without end and padding tokens."""
        rows = [
            ids[mask].tolist() for ids, mask in zip(completion_ids, completion_mask, strict=True)
        ]
        return tuple(self.tokenizer.batch_decode(rows, skip_special_tokens=True))

    def chat_text(self, prompt: Prompt) -> str:
        """Return the prompt's chat text, with one placeholder per image and a generation prompt."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_messages(prompt), tokenize=False, add_generation_prompt=True
            )
        )

    def _chat_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids of `chat_text`.

        Control tokens in the user's text, such as `<|im_end|>`, are tokenized as plain text.
        """
        texts = [prompt.system, prompt.text, *(text for _, text in prompt.history)]
        if not any(self._control.search(text) for text in texts):
            ids: list[int] = self.tokenizer(self.chat_text(prompt), add_special_tokens=False)[
                "input_ids"
            ]
            return ids
        mark = next(
            char
            for char in map(chr, range(0xE000, 0xF900))
            if not any(char in text for text in texts)
        )
        found = sorted({token for text in texts for token in self._control.findall(text)})

        def hidden(text: str) -> str:
            return self._control.sub(lambda match: f"{mark}{found.index(match[0])}{mark}", text)

        history = tuple((role, hidden(text)) for role, text in prompt.history)
        chat = self.chat_text(
            replace(prompt, text=hidden(prompt.text), system=hidden(prompt.system), history=history)
        )
        tokens: list[int] = []
        for piece in re.split(f"({self._control.pattern})", chat):
            if self._control.fullmatch(piece):  # written by the chat template
                tokens.append(self.tokenizer.convert_tokens_to_ids(piece))
            else:
                shown = re.sub(f"{mark}(\\d+){mark}", lambda match: found[int(match[1])], piece)
                tokens += (
                    self.tokenizer(shown, add_special_tokens=False, split_special_tokens=True)[
                        "input_ids"
                    ]
                    if shown
                    else []
                )
        return tokens

    def _patches(self, images: list[Image.Image]) -> dict[str, Tensor] | None:
        if not images:
            return None
        out = self.image_processor(images=images, return_tensors="pt", size=self.size)
        return {"pixel_values": out["pixel_values"], "image_grid_thw": out["image_grid_thw"]}

    def _token_ids(self, prompt: Prompt, grids: list[list[int]]) -> list[int]:
        ids = self._chat_ids(prompt)
        merged = self.image_processor.merge_size**2
        sizes = [t * h * w // merged for t, h, w in grids]
        if ids.count(self.image_token_id) != len(sizes):
            raise ValueError(
                f"prompt {prompt.id!r}: expected {len(sizes)} image placeholders in the chat text,"
                f" found {ids.count(self.image_token_id)}; the model's chat template must write one"
                " for each part of type image"
            )
        counts = iter(sizes)
        return [
            token
            for i in ids
            for token in ([i] * next(counts) if i == self.image_token_id else [i])
        ]

    def _left_padded(self, rows: list[list[int]]) -> tuple[Int[Tensor, "p l"], Int[Tensor, "p l"]]:
        longest = max(len(row) for row in rows)
        ids = [[self.pad_token_id] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids), torch.tensor(mask)


def _opened(image: Any, prompt: Prompt) -> Image.Image:
    try:
        return open_image(image)
    except ValueError as error:
        name = (
            image
            if isinstance(image, str | os.PathLike) and not is_inline(str(image))
            else f"{prompt.images.index(image) + 1}"
        )
        raise ValueError(
            f"task {prompt.task!r}, prompt {prompt.id!r}: image {name} cannot be read ({error})."
            " Replace it or drop the record."
        ) from error


def _end_tokens(path: str | Path, tokenizer: Any) -> dict[int, str]:
    """Return the text of each token that ends a completion, by token id.

    The tokenizer's end token comes first, then those of `generation_config.json` if it exists.
    Qwen's folders name two there: the end of a chat turn and the end of a document.
    """
    found = [tokenizer.eos_token_id]
    missing_is_fine = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    if cached_file(path, "generation_config.json", **missing_is_fine) is not None:
        named = GenerationConfig.from_pretrained(path).eos_token_id
        found += [] if named is None else [named] if isinstance(named, int) else list(named)
    return {
        int(token): str(tokenizer.convert_ids_to_tokens(int(token)))
        for token in dict.fromkeys(found)
    }
