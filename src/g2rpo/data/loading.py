"""Opens images ahead of time in threads, and scales them to the size that the model sees.

The next prompts follow from the draws so far (data/mixture.py), so images are read ahead without
advancing the stream. The number of workers changes only how long a step waits, and a resumed run
needs no state of them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from PIL import Image

from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import Skips, skips_of
from g2rpo.image import is_inline, open_image
from g2rpo.records import Prompt

Fit = Callable[[Image.Image], Image.Image]
"""Scales an image to the size the model sees."""


class Loading:
    """How images are read.

    Args:
        workers: Number of threads that read ahead; 0 reads an image when its prompt is used.
        prefetch: Maximum number of prompts whose images are read ahead. Together with
            `model.max_pixels` it bounds memory.
        max_image_pixels: Larger images are refused before they are decoded.
        max_prompt_tokens: Longer prompts, image tokens included, are left out, because cutting a
            prompt would cut its images. None sets no limit.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        prefetch: int = 128,
        max_image_pixels: int = 64_000_000,
        max_prompt_tokens: int | None = None,
    ) -> None:
        for name, value, least in (
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
            ("max_image_pixels", max_image_pixels, 1),
        ):
            if value < least:
                raise ValueError(f"data.loading.{name}: expected {least} or more, got {value}")
        if max_prompt_tokens is not None and max_prompt_tokens < 1:
            raise ValueError(
                "data.loading.max_prompt_tokens: expected null or at least 1, got"
                f" {max_prompt_tokens}"
            )
        self.workers = workers
        self.prefetch = prefetch
        self.max_image_pixels = max_image_pixels
        self.max_prompt_tokens = max_prompt_tokens
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[str, Future[Prompt | BadRecord]] = {}

    def loaded(self, prompts: Sequence[Prompt], fit: Fit) -> list[Prompt | BadRecord]:
        """Return each prompt with its images in memory, or the error of an image."""
        waiting = [self._ahead.pop(prompt.id, None) for prompt in prompts]
        if self.workers and any(prompt.images for prompt in prompts):
            pool = self._threads()
            waiting = [
                pool.submit(self._load, p, fit) if found is None else found
                for p, found in zip(prompts, waiting, strict=True)
            ]
        return [
            self._load(p, fit) if found is None else found.result()
            for p, found in zip(prompts, waiting, strict=True)
        ]

    def usable(self, prompts: Sequence[Prompt], fit: Fit, skips: Skips) -> list[Prompt]:
        """Return the prompts whose images can be read, with images in memory; report the others."""
        found = list(zip(prompts, self.loaded(prompts, fit), strict=True))
        for prompt, outcome in found:
            if isinstance(outcome, BadRecord):
                skips.unusable(prompt.task, str(outcome))
        return [outcome for _, outcome in found if isinstance(outcome, Prompt)]

    def ahead(self, prompts: Sequence[Prompt], fit: Fit) -> None:
        """Start reading the images of these prompts; drop images read for any other prompt."""
        if not self.workers:
            return
        wanted = {prompt.id: prompt for prompt in prompts[: self.prefetch] if prompt.images}
        for id in set(self._ahead) - set(wanted):
            self._ahead.pop(id).cancel()
        for id, prompt in wanted.items():
            if id not in self._ahead:
                self._ahead[id] = self._threads().submit(self._load, prompt, fit)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool, self._ahead = None, {}

    def _threads(self) -> ThreadPoolExecutor:
        self._pool = self._pool or ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        return self._pool

    def _load(self, prompt: Prompt, fit: Fit) -> Prompt | BadRecord:
        images: list[Any] = []
        for number, image in enumerate(prompt.images, 1):
            try:
                images.append(fit(self._open(image)))
            except ValueError as error:
                name = image if isinstance(image, str) and not is_inline(image) else number
                return BadRecord(f"{place(prompt)}: image {str(name)[-200:]}: {error}")
        return replace(prompt, images=tuple(images))

    def _open(self, image: Any) -> Image.Image:
        """Open a PIL image, a path, or the bytes of a file."""
        return open_image(
            image, max_pixels=self.max_image_pixels, limit="data.loading.max_image_pixels"
        )


def loading_of(source: Any) -> Loading:
    """Return how a source reads images; without threads if it does not say, like the gym."""
    return source.loading if hasattr(source, "loading") else Loading(workers=0)


def reader(source: Any, fit: Fit) -> Callable[[Sequence[Prompt]], list[Prompt]]:
    """Return a function that loads the images of prompts and leaves out, or refuses, unusable ones.

    It is for prompts outside the stream.
    """
    loading, skips = loading_of(source), skips_of(source)
    return lambda prompts: loading.usable(prompts, fit, skips)


def place(prompt: Prompt) -> str:
    """Return where a prompt comes from: file, line and id, or the id alone."""
    where = f"{prompt.meta['file']}, line {prompt.meta['line']}: " if "file" in prompt.meta else ""
    return f"{where}prompt {prompt.id!r}"
