"""Rows of the W&B tables: some completions of a step, and the benchmarks.

A table holds one step and is logged once. W&B's incremental tables are not used: each increment
repeats the paths of all earlier ones, which grows with the square of the steps, and offline their
numbering restarts when a run is resumed.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from g2rpo.image import open_image
from g2rpo.records import LOGGED, Experience

COMPLETION_COLUMNS = (
    "step",
    "task",
    "prompt_id",
    "prompt",
    "image",
    "answer",
    "completion",
    "accuracy",
    "reward",
    "advantage",
    "completion_tokens",
)
"""Columns of a table of completions; the parts of the reward follow as `reward/<part>`."""
BENCHMARK_COLUMNS = (
    "step",
    "benchmark",
    "task",
    "score",
    "low",
    "high",
    "parse_rate",
    "rows",
    "protocol",
    "judge",
    "rows_from",
)
MOST_CHARACTERS = 4000
"""Characters at which prompts and completions are cut; completions.jsonl has the whole text."""


def chosen_rows(tasks: Sequence[int], advantages: Sequence[float], per_task: int) -> list[int]:
    """Choose at most `per_task` rows of each task, evenly spread over its sorted advantages.

    The rows with the highest and the lowest advantage are among them.

    >>> chosen_rows([0, 0, 0, 4, 0], [0.1, -1.0, 1.5, 0.0, 0.7], 2)
    [2, 1, 3]
    """
    chosen: list[int] = []
    for task in sorted(set(tasks)):
        ranked = sorted(
            (row for row, own in enumerate(tasks) if own == task),
            key=lambda row: (-advantages[row], row),
        )
        count = min(per_task, len(ranked))
        chosen += [ranked[place * (len(ranked) - 1) // max(1, count - 1)] for place in range(count)]
    return chosen


def completion_rows(
    step: int, experience: Experience, *, per_task: int, image_px: int
) -> list[dict[str, Any]]:
    """Return rows of `COMPLETION_COLUMNS` and the parts of the reward, None where one is absent.

    `image` is a PIL image, or None without one.
    """
    advantages, tasks = experience.advantages.tolist(), experience.task.tolist()
    tokens = experience.rollouts.completion_mask.sum(1).tolist()
    rows = []
    for row in chosen_rows(tasks, advantages, per_task):
        prompt = experience.batch.prompts[int(experience.rollouts.prompt[row])]
        rows.append(
            {
                "step": step,
                "task": prompt.task,
                "prompt_id": prompt.id,
                "prompt": cut(prompt.text),
                "image": small(prompt.images[0], image_px) if prompt.images else None,
                "answer": prompt.answer,
                "completion": cut(experience.rollouts.texts[row]),
                "accuracy": float(experience.scores.accuracy[row]),
                "reward": float(experience.rewards[row]),
                "advantage": advantages[row],
                "completion_tokens": tokens[row],
            }
            | {
                f"reward/{name.removeprefix(LOGGED)}": None if math.isnan(value) else value
                for name, values in experience.scores.parts.items()
                for value in [float(values[row])]
                if name.removeprefix(LOGGED) != "accuracy"
            }
        )
    return rows


def benchmark_rows(step: int, entries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `BENCHMARK_COLUMNS` from the entries of summary.json."""
    return [
        {"step": step, "benchmark": name} | {key: found[key] for key in BENCHMARK_COLUMNS[2:]}
        for name, found in entries.items()
    ]


def small(image: Image.Image | bytes | str | Path, longest_px: int) -> Image.Image:
    """Return the image in RGB, scaled down if a side is longer than `longest_px`."""
    copy = open_image(image)
    copy.thumbnail((longest_px, longest_px))
    return copy


def cut(text: str) -> str:
    """Return the text, or its beginning and the number of missing characters."""
    return (
        text
        if len(text) <= MOST_CHARACTERS
        else f"{text[:MOST_CHARACTERS]}... ({len(text) - MOST_CHARACTERS} more characters)"
    )
