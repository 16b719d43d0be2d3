"""A prompt source and an encoder without content, for tests of what is around them."""

from collections.abc import Sequence
from typing import Any

import torch

from g2rpo.records import Prompt, PromptBatch


class Shelf:
    """So many prompts of each task, all with the same images; None is endless."""

    def __init__(self, *, images: tuple[Any, ...] = (), **sizes: int | None) -> None:
        self.images, self.sizes, self.tasks = images, sizes, tuple(sizes)

    def size(self, task: str, split: str) -> int | None:
        return self.sizes.get(task, 0)

    def get(self, task: str, index: int, split: str) -> Prompt:
        return Prompt(
            id=f"{split}/{task}/{index}",
            task=task,
            text=f"{index}?",
            images=self.images,
            answer="1",
            answer_type="numerical",
        )


class IdEncoder:
    """Reads nothing: a batch is its prompts."""

    eos_token_id, end_tokens, pad_token_id, forbidden_token_ids = 1, {1: "<end>"}, 0, ()

    def fit(self, image: Any) -> Any:
        return image

    def tokenize(self, completion: str) -> list[int]:
        return [self.eos_token_id]

    def decode(
        self, completion_ids: torch.Tensor, completion_mask: torch.Tensor
    ) -> tuple[str, ...]:
        return ("",) * len(completion_ids)

    def encode(self, prompts: Sequence[Prompt]) -> PromptBatch:
        ids = torch.zeros(len(prompts), 1, dtype=torch.long)
        return PromptBatch(
            prompts=tuple(prompts),
            input_ids=ids,
            attention_mask=ids + 1,
            num_images=torch.tensor([len(p.images) for p in prompts]),
            position=torch.arange(len(prompts)),
        )
