"""One batch of prompts in flight: its groups as they arrive, and its form in a checkpoint."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from g2rpo.records import Failed, PromptBatch, Rollouts
from g2rpo.reward.workers.outcome import Outcome
from g2rpo.rollout.groups import cat_rollouts, select_rollouts


@dataclass(eq=False)
class DrawInFlight:
    """A batch in flight: its groups and their outcomes by the row of the prompt."""

    batch: PromptBatch
    seed: int
    groups: dict[int, Rollouts] = field(default_factory=dict)
    outcomes: dict[int, list[Outcome]] = field(default_factory=dict)
    done: Future[None] = field(default_factory=Future)

    @property
    def ids(self) -> list[str]:
        """Ids of the prompts in their order."""
        return [prompt.id for prompt in self.batch.prompts]

    @property
    def rollouts(self) -> Rollouts:
        """The completions of a complete draw, in the order of its prompts."""
        return cat_rollouts([self.groups[row] for row in range(len(self.batch.prompts))])

    def judged(self, row: int, group: Rollouts, outcomes: list[Outcome]) -> None:
        """Store a group and its outcomes; the last one completes the draw."""
        self.groups[row], self.outcomes[row] = group, outcomes
        if len(self.groups) == len(self.batch.prompts) and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Let whoever waits for the draw get this error."""
        if not self.done.done():
            self.done.set_exception(error)

    def stale(self, step: int, most: int) -> list[int]:
        """Return the rows whose group has a token more than `most` updates old at `step`."""
        return [
            row
            for row, group in sorted(self.groups.items())
            if step - int(group.weight_versions[group.completion_mask].min()) > most
        ]


def saved(draw: DrawInFlight) -> dict[str, Any] | None:
    """Return a complete draw as plain values and tensors; None if it is not complete."""
    if not draw.done.done() or draw.done.exception() is not None:
        return None
    rollouts = draw.rollouts
    values = {column.name: getattr(rollouts, column.name) for column in fields(rollouts)}
    return {
        "ids": draw.ids,
        "rollouts": {
            name: value.cpu() if isinstance(value, Tensor) else value
            for name, value in values.items()
        },
        "outcomes": [
            [one.reason if isinstance(one, Failed) else dict(one) for one in draw.outcomes[row]]
            for row in range(len(draw.ids))
        ],
    }


def restore(draw: DrawInFlight, saved: Mapping[str, Any]) -> None:
    """Complete a draw with what `saved` returned."""
    device = draw.batch.input_ids.device
    rollouts = Rollouts(
        **{
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in saved["rollouts"].items()
        }
    )
    for row, outcomes in enumerate(saved["outcomes"]):
        draw.judged(
            row,
            select_rollouts(rollouts, torch.tensor([row], device=device)),
            [Failed(reason=one) if isinstance(one, str) else one for one in outcomes],
        )
