"""Validation on held-out prompts, with sampled and with greedy completions.

The score of a task is the mean accuracy of its prompts, with `samples` completions each. `macro` is
the plain mean over tasks, so that a large task does not hide a small one.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from g2rpo.data.mixture import listed_tasks
from g2rpo.files import write_whole
from g2rpo.interfaces import Encoder, PromptSource, Reward, RolloutEngine
from g2rpo.launch import marks
from g2rpo.records import Prompt, Sampling
from g2rpo.rollout.groups import score_rollouts
from g2rpo.training.kept_pictures import save_pictures, worth_showing

log = logging.getLogger("g2rpo")
Scores = dict[str, float]
Read = Callable[[Sequence[Prompt]], list[Prompt]]


@dataclass(frozen=True, kw_only=True)
class HeldoutResult:
    """Scores `{"macro": x, "<task>": x}` of sampled and of greedy completions, in [0, 1]."""

    sampled: Scores
    greedy: Scores


@dataclass(kw_only=True)
class HeldoutBatch:
    """Held-out prompts that are answered in one generation batch."""

    places: list[int]
    """Position of each prompt among all held-out prompts; together with the seed it determines the
    prompt's completions.
    """
    prompts: list[Prompt]

    def to(self, device: torch.device | str, **kwargs: Any) -> Self:
        """Return the batch unchanged; Lightning calls this, but prompts are encoded later."""
        return self


class HeldoutEvaluation:
    """Scores an engine on the held-out split.

    Args:
        prompts_per_task: Number of held-out prompts per task, from the first; fewer if the source
            has
            fewer. 0 turns validation off.
        samples: Completions per prompt at `temperature`.
        temperature: Sampling temperature; 1 is the policy that training samples from.
        batch_prompts: Number of prompts generated for at once.
        images_per_task: Number of prompts whose pictures are kept for the report: the worst, the
            best and the most changed.
        failure_budget: Largest fraction of a batch's completions whose reward may fail, in [0, 1].
            They count 0 and are marked `failed` in their row.
        seed: Seeds sampling; the same in every validation.
    """

    def __init__(
        self,
        *,
        prompts_per_task: int = 64,
        samples: int = 4,
        temperature: float = 1.0,
        batch_prompts: int = 48,
        images_per_task: int = 6,
        failure_budget: float = 0.0,
        seed: int = 0,
    ) -> None:
        if prompts_per_task < 0:
            raise ValueError(
                "heldout.prompts_per_task: expected 0 (no evaluation) or more, got"
                f" {prompts_per_task}"
            )
        for name, value in {"samples": samples, "batch_prompts": batch_prompts}.items():
            if value < 1:
                raise ValueError(f"heldout.{name}: expected at least 1, got {value}")
        self.prompts_per_task = prompts_per_task
        self.samples = samples
        self.temperature = temperature
        self.batch_prompts = batch_prompts
        self.images_per_task = images_per_task
        self.failure_budget = failure_budget
        self.seed = seed

    def prompts(self, source: PromptSource, named: Sequence[str] = ()) -> list[Prompt]:
        """Return the held-out prompts of every task that has any, tasks interleaved.

        Args:
            source: The prompts.
            named: Tasks whose prompts are read if the source does not list its tasks.
        """
        tasks = listed_tasks(source, named)
        sizes = {task: source.size(task, "heldout") for task in tasks}
        counts = {
            task: self.prompts_per_task if size is None else min(size, self.prompts_per_task)
            for task, size in sizes.items()
        }
        return [
            source.get(task, i, "heldout")
            for i in range(self.prompts_per_task)
            for task in tasks
            if i < counts[task]
        ]

    def batches(self, source: PromptSource, named: Sequence[str] = ()) -> list[HeldoutBatch]:
        """Return all held-out prompts in batches of `batch_prompts`, the same on every rank.

        Without prompts there is one empty batch.
        """
        prompts = self.prompts(source, named)
        starts = range(0, max(1, len(prompts)), self.batch_prompts)
        return [
            HeldoutBatch(places=[*range(start, start + len(own))], prompts=own)
            for start in starts
            for own in [prompts[start : start + self.batch_prompts]]
        ]

    def score(
        self,
        engine: RolloutEngine,
        encoder: Encoder,
        reward: Reward,
        batch: HeldoutBatch,
        device: torch.device | str = "cpu",
    ) -> list[dict[str, Any]]:
        """Return one row per prompt, with its sampled and greedy completions and their scores.

        The images of `batch` must be loaded.
        """
        plan = replace(
            engine.sampling, group_size=self.samples, temperature=self.temperature, top_p=1.0
        )
        sampled = self._judged(engine, encoder, reward, batch, plan, device)
        once = replace(plan, group_size=1, temperature=0.0)
        greedy = self._judged(engine, encoder, reward, batch, once, device)
        return [
            _row(prompt, s, g[0])
            for prompt, s, g in zip(batch.prompts, sampled, greedy, strict=True)
        ]

    def result(self, rows: Sequence[dict[str, Any]]) -> HeldoutResult:
        """Return the scores of some rows; `macro` is NaN without rows."""
        return _result(rows)

    def write(
        self,
        folder: Path,
        name: str,
        rows: Sequence[dict[str, Any]],
        prompts: Sequence[Prompt],
        read: Read = list,
    ) -> None:
        """Write `folder/<name>.jsonl` atomically, and the pictures that the report shows.

        Args:
            folder: `heldout` in the run folder.
            name: Name of the validation.
            rows: The rows of all ranks.
            prompts: All held-out prompts.
            read: Loads the images of some prompts and leaves out those that cannot be used.
        """
        write_jsonl(folder / f"{name}.jsonl", rows)
        kept = self._worth_showing(rows, folder / "before.jsonl")
        save_pictures(read([prompt for prompt in prompts if prompt.id in kept]), folder / "images")

    def read(self, path: Path) -> HeldoutResult:
        """Return the scores of rows that an earlier run wrote."""
        return _result(read_jsonl(path))

    def _judged(
        self,
        engine: RolloutEngine,
        encoder: Encoder,
        reward: Reward,
        batch: HeldoutBatch,
        plan: Sampling,
        device: torch.device | str,
    ) -> list[list[dict[str, Any]]]:
        """Return the completions of each prompt with their scores."""
        encoded = replace(encoder.encode(batch.prompts), position=torch.tensor(batch.places))
        marks.work_on(prompt.task for prompt in batch.prompts)
        rollouts = engine.generate(encoded.to(device), plan, self.seed)
        scored = score_rollouts(reward, batch.prompts, rollouts, self.failure_budget)
        scores = scored.scores
        tokens = rollouts.completion_mask.sum(1).tolist()
        verdicts = [
            {
                "completion": text,
                "accuracy": accuracy,
                **({} if math.isnan(form) else {"format": form}),
                "completion_tokens": length,
                "finished": finished,
            }
            | ({"failed": True} if failed else {})
            for text, accuracy, form, length, failed, finished in zip(
                rollouts.texts,
                scores.accuracy.tolist(),
                scores.parts.get("format", torch.full_like(scores.total, math.nan)).tolist(),
                tokens,
                scored.failed.tolist(),
                rollouts.finished.tolist(),
                strict=True,
            )
        ]
        if scored.failed.any():
            log.warning(
                "held-out: %d of %d completions could not be judged and count 0",
                int(scored.failed.sum()),
                len(verdicts),
            )
        return [verdicts[i : i + plan.group_size] for i in range(0, len(verdicts), plan.group_size)]

    def _worth_showing(self, rows: Sequence[dict[str, Any]], before: Path) -> set[str]:
        """Return the ids of the prompts whose pictures the report needs.

        For each task these are the worst, the best and the most changed.
        """
        earlier = {
            row["prompt_id"]: _sampled(row)
            for row in (read_jsonl(before) if before.exists() else ())
        }
        by_task: dict[str, dict[str, float]] = {}
        for row in rows:
            by_task.setdefault(row["task"], {})[row["prompt_id"]] = _sampled(row)
        return {
            name
            for scores in by_task.values()
            for name in worth_showing(scores, earlier, self.images_per_task)
        }


def _sampled(row: dict[str, Any]) -> float:
    accuracies = [sample["accuracy"] for sample in row["samples"]]
    return sum(accuracies) / len(accuracies)


def _row(prompt: Prompt, samples: list[dict[str, Any]], greedy: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt_id": prompt.id,
        "task": prompt.task,
        "prompt": prompt.text,
        "answer": prompt.answer,
        "answer_type": prompt.answer_type,
        "samples": samples,
        "greedy": greedy,
    }


def _result(rows: Sequence[dict[str, Any]]) -> HeldoutResult:
    return HeldoutResult(
        sampled=_task_scores(rows, lambda row: [sample["accuracy"] for sample in row["samples"]]),
        greedy=_task_scores(rows, lambda row: [row["greedy"]["accuracy"]]),
    )


def _task_scores(
    rows: Sequence[dict[str, Any]], scores: Callable[[dict[str, Any]], list[float]]
) -> Scores:
    by_task: dict[str, list[float]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).extend(scores(row))
    means = {task: sum(values) / len(values) for task, values in by_task.items()}
    macro = sum(means.values()) / len(means) if means else float("nan")
    return {"macro": macro, **means}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a file that `write_jsonl` wrote, line by line; only a line feed ends a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write all rows atomically."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
