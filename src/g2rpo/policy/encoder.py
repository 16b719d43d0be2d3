"""Encode prompts as model inputs; what the encoders of all families have in common.

A family's encoder says what tensors an image becomes, and what text stands for it in the prompt.
"""

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import GenerationConfig
from transformers.utils import cached_file

from g2rpo.image import is_inline, open_image
from g2rpo.prompt import chat_messages
from g2rpo.records import Prompt, PromptBatch

log = logging.getLogger("g2rpo")

PROCESSOR_FILES = ("processor_config.json", "video_preprocessor_config.json", "chat_template.json")
"""Files that transformers' processors read besides those of tokenizer and image processor."""


class ChatEncoder(ABC):
    """Encodes prompts for one checkpoint folder.

    Args:
        path: The folder, or a Hub id.
        tokenizer: Its tokenizer, with a chat template.
        placeholder: Token that the chat template writes once per image.
        forbidden: Tokens that are never sampled: placeholders break the next forward pass.
    """

    image_processor: Any
    """The image processor of the folder, which is saved with checkpoints."""
    size: dict[str, int]
    """Image size as the image processor takes it, with the bounds of the settings."""
    works_on_gpus: bool = False
    """Whether `read` can process images on a GPU."""
    device: torch.device = torch.device("cpu")
    """Device on which `read` processes images."""

    def __init__(
        self, *, path: str | Path, tokenizer: Any, placeholder: str, forbidden: Sequence[str]
    ) -> None:
        self.tokenizer = tokenizer
        self._files = {name: _text_of(path, name) for name in PROCESSOR_FILES}
        self.placeholder = placeholder
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(placeholder)
        self.eos_token_id = self.tokenizer.eos_token_id
        self.end_tokens = _end_tokens(path, self.tokenizer)
        self.pad_token_id = self.tokenizer.pad_token_id
        control = {placeholder} | {
            token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special
        }
        self._control = re.compile(
            "|".join(map(re.escape, sorted(control, key=lambda token: (-len(token), token))))
        )
        self.forbidden_token_ids = tuple(
            self.tokenizer.convert_tokens_to_ids(token) for token in forbidden
        )

    @abstractmethod
    def read(self, images: Sequence[Image.Image]) -> tuple[list[dict[str, Tensor]], list[str]]:
        """Return the vision inputs of each image of a prompt, and the text that stands for it.

        The text replaces the placeholder of the chat template.
        """

    @abstractmethod
    def fit(self, image: Image.Image) -> Image.Image:
        """Return the image at the size that the policy sees, or unchanged."""

    @abstractmethod
    def pixels(self, image: dict[str, Tensor]) -> tuple[int, int]:
        """Return width and height in pixels that the policy sees of an image.

        Args:
            image: Vision inputs of the image, as in `PromptBatch.images`.
        """

    def process_on(self, device: torch.device | str) -> None:
        """Process images on this device from now on, if possible, and otherwise on the CPU."""
        device = torch.device(device)
        self.device = device if self.works_on_gpus else torch.device("cpu")
        if device.type == "cuda":
            log.info("images are processed on %s", self.device)

    def shown(self, images: Sequence[Image.Image]) -> list[tuple[tuple[int, int], int]]:
        """Return the width and height that the policy sees of each image, and its tokens."""
        read, texts = self.read(images) if images else ([], [])
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        return [(self.pixels(image), len(row)) for image, row in zip(read, ids, strict=True)]

    def pictures(self, batch: PromptBatch) -> list[list[Image.Image]]:
        """Return the images of each prompt of a batch, for engines that process them again."""
        return [
            [self.fit(_opened(image, prompt)) for image in prompt.images]
            for prompt in batch.prompts
        ]

    def unexpanded(self, prompt: Prompt) -> list[int]:
        """Return the token ids of a prompt with one placeholder per image, which engines expand."""
        return self._token_ids(prompt, [self.placeholder] * len(prompt.images))

    def save(self, folder: Path) -> None:
        """Write the files from which transformers and this encoder are loaded again."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
        for name, text in self._files.items():
            if text is not None:
                (folder / name).write_text(text, encoding="utf-8")

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        """Apply the chat template, turn images into tensors, and pad on the left.

        Raises:
            ValueError: An image cannot be read; the message names the prompt.
        """
        opened = [[_opened(image, prompt) for image in prompt.images] for prompt in prompts]
        read = [self.read(images) if images else ([], []) for images in opened]
        rows = [
            self._token_ids(prompt, texts) for prompt, (_, texts) in zip(prompts, read, strict=True)
        ]
        input_ids, attention_mask = self._left_padded(rows)
        return PromptBatch(
            prompts=tuple(prompts),
            input_ids=input_ids,
            attention_mask=attention_mask,
            position=torch.arange(len(prompts)),
            num_images=torch.tensor([len(images) for images in opened]),
            images=tuple(image for images, _ in read for image in images),
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
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat_messages(prompt), tokenize=False, add_generation_prompt=True
                )
            )
        except TemplateError as error:
            raise ValueError(
                f"chat template of {self.tokenizer.name_or_path}: it cannot be applied to prompt"
                f" {prompt.id!r}: {error}; mend the template, or take that of the original model"
            ) from error

    def _token_ids(self, prompt: Prompt, texts: Sequence[str]) -> list[int]:
        """Return the token ids of `chat_text`, with a text for each image's placeholder.

        Control tokens in the user's text, such as `<|im_end|>`, are tokenized as plain text.
        """
        written = [prompt.system, prompt.text, *(text for _, text in prompt.history)]
        if not any(self._control.search(text) for text in written):
            chat = self._with_images(self.chat_text(prompt), prompt, texts)
            ids: list[int] = self.tokenizer(chat, add_special_tokens=False)["input_ids"]
            return ids
        mark = next(
            char
            for char in map(chr, range(0xE000, 0xF900))
            if not any(char in text for text in written)
        )
        found = sorted({token for text in written for token in self._control.findall(text)})

        def hidden(text: str) -> str:
            return self._control.sub(lambda match: f"{mark}{found.index(match[0])}{mark}", text)

        history = tuple((role, hidden(text)) for role, text in prompt.history)
        chat = self.chat_text(
            replace(prompt, text=hidden(prompt.text), system=hidden(prompt.system), history=history)
        )
        tokens: list[int] = []
        for piece in re.split(f"({self._control.pattern})", self._with_images(chat, prompt, texts)):
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

    def _with_images(self, chat: str, prompt: Prompt, texts: Sequence[str]) -> str:
        pieces = chat.split(self.placeholder)
        if len(pieces) - 1 != len(texts):
            raise ValueError(
                f"prompt {prompt.id!r}: expected {len(texts)} image placeholders in the chat text,"
                f" found {len(pieces) - 1}; the model's chat template must write one for each part"
                " of type image"
            )
        return "".join(part for pair in zip(pieces, [*texts, ""], strict=True) for part in pair)

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
    if _text_of(path, "generation_config.json") is not None:
        named = GenerationConfig.from_pretrained(path).eos_token_id
        found += [] if named is None else [named] if isinstance(named, int) else list(named)
    return {
        int(token): str(tokenizer.convert_ids_to_tokens(int(token)))
        for token in dict.fromkeys(found)
    }


def _text_of(path: str | Path, name: str) -> str | None:
    """Return the text of a file of a folder or Hub id, or None if there is no such file."""
    file = cached_file(
        path,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if file is None else Path(file).read_text(encoding="utf-8")
