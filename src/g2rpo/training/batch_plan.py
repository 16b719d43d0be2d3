"""Sizes of a rollout batch, its minibatches and micro-batches, and equal numbers of passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple, TypeVar

import torch

from g2rpo import ranks
from g2rpo.policy.forward import is_sharded
from g2rpo.records import Experience, Prompt, PromptBatch
from g2rpo.rollout.groups import select_prompts, select_scores, take_rollouts
from g2rpo.tasks import DEFAULT, checked_task


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Number of prompts, completions and updates of a rollout batch.

    Args:
        prompts_per_step: Number of prompts in a rollout batch; each has a group of completions.
        group_size: Number of completions per prompt, at least 2.
        group_size_of: Number of completions by task, where it differs; None means the number of
            `default`, which is for all tasks without their own, or `group_size`.
        num_minibatches: Optimizer updates per rollout batch. Groups are assigned to minibatches at
            random.
        micro_batch_prompts: Groups in one forward pass; None means a whole minibatch. It changes
            memory, not results.
        micro_batch_tokens: Alternatively the largest number of tokens in one forward pass; each
            prompt counts once for its group. Groups are assigned so that passes have similar
            sizes. A group with more tokens gets a pass for itself.
        completions_per_row: Splits a long group into rows of at most this many completions, each
            with its prompt. Without `micro_batch_tokens` every group is split, else those with more
            tokens than that. It changes memory and time, not results.

    Raises:
        ValueError: if a size is out of range, or both micro-batch limits are set.
    """

    prompts_per_step: int
    group_size: int
    num_minibatches: int = 1
    micro_batch_prompts: int | None = None
    micro_batch_tokens: int | None = None
    completions_per_row: int | None = None
    group_size_of: Mapping[str, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.prompts_per_step < 1:
            raise ValueError(
                "batch.prompts_per_step: expected at least 1 prompt per step, got"
                f" {self.prompts_per_step}"
            )
        if self.group_size < 2:
            raise ValueError(
                f"batch.group_size={self.group_size}: G2RPO compares completions of one prompt, so"
                " it needs at least 2. Try 8."
            )
        for task, size in self.group_size_of.items():
            if task != DEFAULT:
                checked_task(task, "batch.group_size_of")
            if size is not None and size < 2:
                raise ValueError(
                    f"batch.group_size_of.{task}={size}: a group needs at least 2 completions"
                )
        if not 1 <= self.num_minibatches <= self.prompts_per_step:
            raise ValueError(
                "batch.num_minibatches: expected 1 to"
                f" batch.prompts_per_step={self.prompts_per_step}, got {self.num_minibatches}"
            )
        for key, unit in (
            ("micro_batch_prompts", "prompt"),
            ("micro_batch_tokens", "token"),
            ("completions_per_row", "completion"),
        ):
            size = getattr(self, key)
            if size is not None and size < 1:
                raise ValueError(f"batch.{key}: expected null or at least 1 {unit}, got {size}")
        if self.micro_batch_tokens is not None and self.micro_batch_prompts is not None:
            raise ValueError(
                f"batch.micro_batch_tokens={self.micro_batch_tokens},"
                f" batch.micro_batch_prompts={self.micro_batch_prompts}: both cut a minibatch; set"
                " one to null"
            )

    def group_sizes(self, tasks: Sequence[str]) -> dict[str, int]:
        """Return the number of completions per prompt of each task."""
        others = self.group_size_of.get(DEFAULT) or self.group_size
        return {task: self.group_size_of.get(task) or others for task in tasks}

    def minibatches(self, num_prompts: int, rng: Random) -> list[list[int]]:
        """Return the prompts of each update: each prompt once, sizes differ by at most one."""
        if self.num_minibatches == 1:
            return [list(range(num_prompts))]
        order = list(range(num_prompts))
        rng.shuffle(order)
        parts = [sorted(order[i :: self.num_minibatches]) for i in range(self.num_minibatches)]
        return [part for part in parts if part]

    def split(self, group: list[int], tokens: int) -> list[list[int]]:
        """Split the completions of a group into rows, whose sizes differ by at most one.

        Args:
            group: Completions of a prompt.
            tokens: Tokens of the prompt and of all of them.
        """
        fits = self.micro_batch_tokens is not None and tokens <= self.micro_batch_tokens
        if self.completions_per_row is None or fits:
            return [group]
        count = max(1, -(-len(group) // self.completions_per_row))
        cuts = [len(group) * i // count for i in range(count + 1)]
        return [group[first:behind] for first, behind in pairwise(cuts)]

    def microbatches(self, rows: list[int], tokens: list[int]) -> list[list[int]]:
        """Cut rows into micro-batches.

        Args:
            rows: Positions of the rows: prompts with completions.
            tokens: Tokens of each row by position.
        """
        if self.micro_batch_tokens is not None:
            return balanced(rows, tokens, self.micro_batch_tokens)
        size = self.micro_batch_prompts or max(1, len(rows))
        return [rows[i : i + size] for i in range(0, len(rows), size)]


def balanced(rows: list[int], tokens: list[int], most: int) -> list[list[int]]:
    """Split rows into few pieces of at most `most` tokens each.

    Rows are assigned by decreasing length, each to the piece with the fewest tokens so far.
    """
    longest_first = sorted(rows, key=lambda row: (-tokens[row], row))
    for count in range(-(-sum(tokens[row] for row in rows) // most), len(rows) + 1):
        pieces: list[list[int]] = [[] for _ in range(count)]
        for row in longest_first:
            min(pieces, key=lambda piece: sum(tokens[r] for r in piece)).append(row)
        if all(len(piece) == 1 or sum(tokens[row] for row in piece) <= most for piece in pieces):
            return sorted(sorted(piece) for piece in pieces)
    return [[row] for row in rows]


class Row(NamedTuple):
    """A prompt and the completions that pass together with it."""

    prompt: int
    """Position of the prompt in the rollout batch."""
    completions: list[int]
    """Positions of the completions."""


def select_rows(experience: Experience, rows: Sequence[Row]) -> Experience:
    """Select completions with their prompts; a prompt that several rows name is repeated."""
    device = experience.advantages.device
    index = torch.tensor([row.prompt for row in rows], dtype=torch.long, device=device)
    mine = torch.tensor([one for row in rows for one in row.completions], device=device)
    sizes = torch.tensor([len(row.completions) for row in rows], device=device)
    return Experience(
        batch=select_prompts(experience.batch, index),
        rollouts=replace(
            take_rollouts(experience.rollouts, mine),
            prompt=torch.arange(len(rows), device=device).repeat_interleave(sizes),
        ),
        task=experience.task[mine],
        scores=select_scores(experience.scores, mine),
        rewards=experience.rewards[mine],
        advantages=experience.advantages[mine],
        ref_logprobs=None if experience.ref_logprobs is None else experience.ref_logprobs[mine],
        trainer_logprobs=(
            None if experience.trainer_logprobs is None else experience.trainer_logprobs[mine]
        ),
    )


Part = TypeVar("Part")


def padded(policy: Any, parts: Sequence[Part]) -> list[Part | None]:
    """Append None until every rank has equally many parts, if the weights are sharded.

    Each part is one pass of the policy. A pass gathers sharded weights with all ranks, so a rank
    without a part of its own must still make one.
    """
    if not is_sharded(policy):
        return list(parts)
    most = int(ranks.all_reduce_max(torch.tensor(len(parts))))
    return [*parts, *[None] * (most - len(parts))]


def filler(policy: Any, forbidden: Sequence[int]) -> tuple[PromptBatch, torch.Tensor, torch.Tensor]:
    """Return a prompt and a completion of one token each, for a pass whose result is not used.

    Args:
        policy: The model that will get it.
        forbidden: Tokens, such as those of images, that must not occur.

    Returns:
        The batch, completion ids [1, 1], and their mask.
    """
    token = next(token for token in range(len(forbidden) + 1) if token not in forbidden)
    ids = torch.tensor([[token]], device=next(policy.parameters()).device)
    prompt = Prompt(id="", task="", text="", images=(), answer="", answer_type="text")
    batch = PromptBatch(
        prompts=(prompt,),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_images=torch.zeros_like(ids[0]),
        position=torch.zeros_like(ids[0]),
    )
    return batch, ids, torch.ones_like(ids, dtype=torch.bool)
