"""Writes every training completion with its scores, and pictures of a few training prompts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from g2rpo import ranks
from g2rpo.files import DiskError
from g2rpo.records import LOGGED, Experience, Prompt, Rollouts, Scores
from g2rpo.training import showcase
from g2rpo.training.completion_parts import CompletionParts
from g2rpo.training.kept_pictures import save_pictures
from g2rpo.training.metrics_csv import MetricsCSV
from g2rpo.training.timeline import TimelineFile

PICTURE_PX, PICTURE_BYTES = 256, 4_000_000
"""Longest side of a training picture, and the total size at which no more pictures are written."""


class RunLog(L.Callback):
    """Appends to `folder/completions.jsonl` and `folder/timeline.csv` after every rollout batch.

    A resumed run first removes rows after its checkpoint, there and in `metrics.csv`. Small
    pictures of the prompts that `showcase` chooses are saved in `folder/images`.

    Args:
        folder: The run folder.
        part_mb: Size in MB at which the rows are moved to a compressed file in
            `folder/completions`.
    """

    def __init__(self, *, folder: str | Path, part_mb: float = 32.0) -> None:
        if not 0 < part_mb < math.inf:
            raise ValueError(
                f"callbacks.run_files.part_mb: expected a size in MB above 0, got {part_mb}"
            )
        self.folder = Path(folder)
        self.completions = CompletionParts(self.folder, part_mb * 1e6)
        self.timeline = TimelineFile(self.folder)
        self._latest: Sequence[Prompt] = ()
        self._place: tuple[int, int] | None = None

    @rank_zero_only
    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Remove the rows after the step that the run starts from."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.forget_after(trainer.global_step)
        self.completions.forget_after(trainer.global_step)
        self.timeline.begin(trainer.global_step)
        self._place = place_on_disk(self.folder)

    @rank_zero_only
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the run if its folder is not the one in which it began.

        Raises:
            DiskError: if the folder was removed or renamed; files would be spread over two folders.
        """
        if place_on_disk(self.folder) != self._place:
            raise DiskError(
                f"{self.folder}: this run folder was removed or renamed while the run was writing"
                " to it. If it was renamed, its checkpoints are complete: resume there"
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Append one row per completion of any rank, in the order of the stream of prompts."""
        own = completion_rows(
            trainer.global_step,
            pl_module.rollout_batch,
            outputs["experience"],
            pl_module.encoder.end_tokens,
        )
        rows = ranks.all_gather_list([*zip(outputs["table"].own.tolist(), own, strict=True)])
        if trainer.is_global_zero:
            self.completions.append(
                [row for _, row in sorted(rows, key=lambda numbered: numbered[0])]
            )
            self.timeline.append(trainer.global_step, outputs["timeline"])
            is_last = 0 <= trainer.max_steps <= trainer.global_step
            prompts = outputs["experience"].batch.prompts
            self.keep_pictures(pl_module.rollout_batch, prompts, is_last=is_last)

    @rank_zero_only
    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Save the pictures of the last rollout batch as well if the run ends early."""
        self._save_pictures()

    def keep_pictures(
        self, rollout_batch: int, prompts: Sequence[Prompt], *, is_last: bool
    ) -> None:
        """Save pictures of the prompts that the report shows, if it shows this rollout batch.

        Args:
            rollout_batch: Number of the rollout batch, counted from 1.
            prompts: Its prompts.
            is_last: Whether no other one follows. A run that is killed after it does not come to
                the end of training again, so the pictures cannot wait for that.
        """
        self._latest = showcase.first_of_each_task(prompts)
        if is_last or showcase.is_shown(rollout_batch):
            self._save_pictures()

    def _save_pictures(self) -> None:
        folder = self.folder / "images"
        save_pictures(self._latest, folder, largest_px=PICTURE_PX, most_bytes=PICTURE_BYTES)
        self._latest = ()


def place_on_disk(folder: Path) -> tuple[int, int] | None:
    """Return device and number of a folder, which stay when it is renamed; None without one."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def completion_rows(
    step: int, rollout_batch: int, experience: Experience, end_tokens: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Return the completions of a rollout batch as plain rows.

    `ended_by` is the text of the end token, or `length` for a completion that was cut off.

    Args:
        step: Number of optimizer updates, those of this rollout batch included.
        rollout_batch: Number of the rollout batch, counted from 1.
        experience: Completions with rewards and advantages.
        end_tokens: Text of each end token by id.
    """
    rollouts, scores = experience.rollouts, experience.scores
    prompts = [experience.batch.prompts[i] for i in rollouts.prompt.tolist()]
    columns = zip(
        prompts,
        rollouts.texts,
        experience.rewards.tolist(),
        scores.accuracy.tolist(),
        experience.advantages.tolist(),
        rollouts.completion_mask.sum(1).tolist(),
        rollouts.finished.tolist(),
        _ended_by(rollouts, end_tokens),
        _present_parts(scores),
        _staleness(experience),
        strict=True,
    )
    return [
        {
            "step": step,
            "rollout_batch": rollout_batch,
            "task": prompt.task,
            "prompt_id": prompt.id,
            "prompt": prompt.text,
            "answer": prompt.answer,
            "completion": text,
            "reward": reward,
            "accuracy": accuracy,
            **{name: parts[name] for name in ("format",) if name in parts},
            "advantage": advantage,
            "completion_tokens": tokens,
            "finished": ended,
            "ended_by": end,
            "parts": parts,
        }
        | stale
        for prompt, text, reward, accuracy, advantage, tokens, ended, end, parts, stale in columns
    ]


def _staleness(experience: Experience) -> list[dict[str, int]]:
    """Return the staleness of each completion's oldest token, if the engine says it."""
    if experience.staleness is None:
        return [{} for _ in experience.rollouts.texts]
    return [{"staleness": largest} for largest in experience.staleness.amax(1).tolist()]


def _present_parts(scores: Scores) -> list[dict[str, float]]:
    """Return the parts that each completion has, by name."""
    names = [name.removeprefix(LOGGED) for name in scores.parts]
    rows = zip(*(values.tolist() for values in scores.parts.values()), strict=True)
    return [
        {name: value for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        for row in rows
    ]


def _ended_by(rollouts: Rollouts, end_tokens: Mapping[int, str]) -> list[str]:
    last = rollouts.completion_ids.gather(1, rollouts.completion_mask.sum(1, keepdim=True) - 1)[
        :, 0
    ].tolist()
    return [
        end_tokens[token] if finished else "length"
        for token, finished in zip(last, rollouts.finished.tolist(), strict=True)
    ]
