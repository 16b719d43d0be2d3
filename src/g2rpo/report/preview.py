"""Writes the page of `preview.py`: the first prompts of each task, without loading weights."""

import logging
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from g2rpo.data.loading import loading_of
from g2rpo.data.skips import index_skips
from g2rpo.files import write_whole
from g2rpo.interfaces import PromptSource, Reward
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.records import Prompt
from g2rpo.report.examine import Examined, examine
from g2rpo.report.preview_page import Seen, preview_page
from g2rpo.report.settings import read_settings

log = logging.getLogger("g2rpo")


class Preview:
    """Writes a page with the prompts that training would see first.

    Args:
        prompts: Number of prompts per task; fewer if the task has fewer.
    """

    def __init__(self, *, prompts: object) -> None:
        if not isinstance(prompts, int) or isinstance(prompts, bool) or prompts < 1:
            raise ValueError(
                f"prompts: expected at least 1 prompt of each task, got {prompts}; try prompts=8"
            )
        self.prompts: int = prompts

    def write(
        self,
        folder: Path,
        *,
        source: PromptSource,
        tasks: Sequence[str],
        next_of: Callable[[str], Prompt],
        seed: int,
        encoder: ChatEncoder,
        reward: Reward,
    ) -> Path:
        """Write `preview.html` into the folder, log a summary, and print the path.

        Args:
            folder: The run folder.
            source: Gives sizes, the way images are loaded, and skipped records.
            tasks: Tasks with a share in the mixture.
            next_of: The next prompt of a task in the order of training.
            seed: Seed of that order, shown on the page.
            encoder: Encoder of the model folder.
            reward: Scores the gold answer as written and as asked, and wrong answers.
        """
        loading, skipped = loading_of(source), index_skips(source)
        examined: list[Examined] = []
        for task in tasks:
            size = source.size(task, "train")
            count = self.prompts if size is None else min(self.prompts, size)
            own = [
                examine(next_of(task), encoder=encoder, loading=loading, reward=reward)
                for _ in range(count)
            ]
            examined += own
            log.info(_task_line(task, own))
        seen = Seen(
            name=folder.resolve().name,
            prompts=tuple(examined),
            per_task=self.prompts,
            seed=seed,
            sizes={t: (source.size(t, "train"), source.size(t, "heldout")) for t in tasks},
            skipped=skipped["unusable"],
            skipped_records=tuple(skipped["records"]),
            settings=read_settings(folder / ".hydra", []),
            max_prompt_tokens=loading.max_prompt_tokens,
        )
        target = folder / "preview.html"
        write_whole(target, preview_page(seen))
        for found in seen.flagged:
            log.warning("flagged: %s: %s", found.place, "; ".join(found.problems))
        for found in seen.too_long:
            log.warning("too long: %s: %s", found.place, found.too_long)
        log.info(
            "%d prompts, %d flagged, %d too long; %d records skipped by the source",
            len(examined),
            len(seen.flagged),
            len(seen.too_long),
            sum(seen.skipped.values()),
        )
        Console(soft_wrap=True, highlight=False).print(f"preview: {target.resolve()}")
        return target


def _task_line(task: str, own: Sequence[Examined]) -> str:
    tokens = [found.tokens for found in own if found.tokens is not None]
    lengths = (
        f"tokens mean {statistics.mean(tokens):.0f}, max {max(tokens)}"
        if tokens
        else "none can be encoded"
    )
    return (
        f"{task:<12} {len(own)} shown, {sum(bool(found.problems) for found in own)} flagged,"
        f" {lengths}"
    )
