"""Images from paths: opened lazily, ahead of time in threads, never more of them than the next batch has.

What comes next is a function of the draws so far (data/mixture.py), so images are fetched ahead without moving the stream: the
number of workers changes how long a step waits and nothing else, and a resumed run needs to know nothing about them.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from PIL import Image

from g2rpo.data.rows import BadRecord
from g2rpo.records import Prompt


class Loading:
    """How images are read.

    Args:
        workers: Threads that decode ahead; 0 decodes when a prompt's turn comes.
        max_image_pixels: Larger images are refused before they are decoded.
        max_prompt_tokens: Longer prompts, image tokens included, are left out: a prompt with images is never cut. None: no limit.
    """

    def __init__(self, *, workers: int = 2, max_image_pixels: int = 64_000_000, max_prompt_tokens: int | None = None) -> None:
        for name, value, least in (("workers", workers, 0), ("max_image_pixels", max_image_pixels, 1)):
            if value < least:
                raise ValueError(f"data.loading.{name}: expected {least} or more, got {value}")
        if max_prompt_tokens is not None and max_prompt_tokens < 1:
            raise ValueError(f"data.loading.max_prompt_tokens: expected null or at least 1, got {max_prompt_tokens}")
        self.workers = workers
        self.max_image_pixels = max_image_pixels
        self.max_prompt_tokens = max_prompt_tokens
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: dict[str, Future[Prompt | BadRecord]] = {}

    def loaded(self, prompts: Sequence[Prompt]) -> list[Prompt | BadRecord]:
        """Each prompt with its images decoded, or what is wrong with them."""
        waiting = [self._ahead.pop(prompt.id, None) for prompt in prompts]
        return [self._load(prompt) if found is None else found.result() for prompt, found in zip(prompts, waiting, strict=True)]

    def ahead(self, prompts: Iterable[Prompt]) -> None:
        """Begins to decode what is likely to be asked for next; forgets what was not asked for."""
        if not self.workers:
            return
        self._pool = self._pool or ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        wanted = {prompt.id: prompt for prompt in prompts}
        for id in set(self._ahead) - set(wanted):
            self._ahead.pop(id).cancel()
        for id, prompt in wanted.items():
            if id not in self._ahead:
                self._ahead[id] = self._pool.submit(self._load, prompt)

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool, self._ahead = None, {}

    def _load(self, prompt: Prompt) -> Prompt | BadRecord:
        images: list[Any] = []
        for image in prompt.images:
            try:
                images.append(image if isinstance(image, Image.Image) else self._open(image))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what PIL raises for damaged files
                return BadRecord(f"{place(prompt)}: image {image}: {words_of(error)}")
        return replace(prompt, images=tuple(images))

    def _open(self, path: Any) -> Image.Image:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > self.max_image_pixels:
                raise ValueError(f"{width} x {height} pixels are more than data.loading.max_image_pixels={self.max_image_pixels}")
            return image.convert("RGB")


def place(prompt: Prompt) -> str:
    """Where a prompt comes from, as its author knows it: file and line, or its id."""
    where = f"{prompt.meta['file']}, line {prompt.meta['line']}: " if "file" in prompt.meta else ""
    return f"{where}prompt {prompt.id!r}"


def words_of(error: Exception) -> str:
    """The reason without the path, which the message has already."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("/")[0].strip() or type(error).__name__
