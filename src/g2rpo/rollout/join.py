"""Select groups of rollout batches, and concatenate batches; only padding changes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

from g2rpo.records import PromptBatch, Rollouts, Scores


def select_prompts(batch: PromptBatch, rows: Int[Tensor, " k"]) -> PromptBatch:
    """Return some prompts of a batch, with their images."""
    owner = torch.repeat_interleave(torch.arange(len(batch.prompts)), batch.num_images.cpu())
    images = (
        torch.cat([(owner == row).nonzero()[:, 0] for row in rows.tolist()]) if len(rows) else rows
    )
    pixels, grids = None, None
    if batch.pixel_values is not None and batch.image_grid_thw is not None and len(images):
        grids = batch.image_grid_thw[images]
        patches = batch.pixel_values.split(batch.image_grid_thw.prod(1).tolist())
        pixels = torch.cat([patches[i] for i in images.tolist()])
    return PromptBatch(
        prompts=tuple(batch.prompts[row] for row in rows.tolist()),
        task=batch.task[rows],
        input_ids=batch.input_ids[rows],
        attention_mask=batch.attention_mask[rows],
        pixel_values=pixels,
        image_grid_thw=grids,
        num_images=batch.num_images[rows],
    )


def group_rows(rows: Int[Tensor, " k"], prompt: Int[Tensor, " b"]) -> Int[Tensor, " n"]:
    """Return the completion rows of the given prompts, in the order of `rows`.

    Args:
        rows: Indices of prompts.
        prompt: Prompt index of each completion, in ascending order.
    """
    if not len(rows):
        return rows
    sizes = torch.bincount(prompt, minlength=int(rows.max()) + 1)
    starts, picked = (sizes.cumsum(0) - sizes)[rows], sizes[rows]
    within = torch.arange(int(picked.sum()), device=rows.device) - (
        picked.cumsum(0) - picked
    ).repeat_interleave(picked)
    return starts.repeat_interleave(picked) + within


def select_rollouts(rollouts: Rollouts, rows: Int[Tensor, " k"]) -> Rollouts:
    """Return the completions of some prompts; `prompt` is numbered from 0 again."""
    mine = group_rows(rows, rollouts.prompt)
    new = torch.full(
        (int(rollouts.prompt.max()) + 1 if len(rollouts.prompt) else 0,), -1, device=rows.device
    )
    new[rows] = torch.arange(len(rows), device=rows.device)
    return replace(take_rollouts(rollouts, mine), prompt=new[rollouts.prompt[mine]])


def take_rollouts(rollouts: Rollouts, mine: Int[Tensor, " n"]) -> Rollouts:
    """Return some completions; `prompt` keeps its numbering."""
    return replace(
        rollouts,
        completion_ids=rollouts.completion_ids[mine],
        completion_mask=rollouts.completion_mask[mine],
        old_logprobs=rollouts.old_logprobs[mine],
        prompt=rollouts.prompt[mine],
        finished=rollouts.finished[mine],
        texts=tuple(rollouts.texts[row] for row in mine.tolist()),
    )


def select_scores(scores: Scores, mine: Int[Tensor, " n"]) -> Scores:
    """Return the scores of some completions."""
    return Scores(
        total=scores.total[mine],
        parts={name: values[mine] for name, values in scores.parts.items()},
    )


def select_groups(
    batch: PromptBatch,
    rollouts: Rollouts,
    scores: Scores,
    failed: Bool[Tensor, " b"],
    rows: Int[Tensor, " k"],
) -> tuple[PromptBatch, Rollouts, Scores, Bool[Tensor, " n"]]:
    """Return some prompts with their completions, scores and failures."""
    if len(rows) == len(batch.prompts):
        return batch, rollouts, scores, failed
    mine = group_rows(rows, rollouts.prompt)
    return (
        select_prompts(batch, rows),
        select_rollouts(rollouts, rows),
        select_scores(scores, mine),
        failed[mine],
    )


def cat_batches(batches: Sequence[PromptBatch]) -> PromptBatch:
    """Concatenate batches of prompts, padded on the left to the longest."""
    if len(batches) == 1:
        return batches[0]
    longest = max(batch.input_ids.shape[1] for batch in batches)
    pixels = [batch.pixel_values for batch in batches if batch.pixel_values is not None]
    grids = [batch.image_grid_thw for batch in batches if batch.image_grid_thw is not None]
    return PromptBatch(
        prompts=tuple(prompt for batch in batches for prompt in batch.prompts),
        task=torch.cat([batch.task for batch in batches]),
        input_ids=torch.cat([_left(batch.input_ids, longest) for batch in batches]),
        attention_mask=torch.cat([_left(batch.attention_mask, longest) for batch in batches]),
        pixel_values=torch.cat(pixels) if pixels else None,
        image_grid_thw=torch.cat(grids) if grids else None,
        num_images=torch.cat([batch.num_images for batch in batches]),
    )


def cat_rollouts(parts: Sequence[Rollouts]) -> Rollouts:
    """Concatenate rollouts, padded on the right; `prompt` is numbered consecutively."""
    longest = max(part.completion_ids.shape[1] for part in parts)
    offsets = torch.tensor(
        [0] + [int(part.prompt.max()) + 1 if len(part.prompt) else 0 for part in parts]
    ).cumsum(0)
    return Rollouts(
        completion_ids=torch.cat([_right(part.completion_ids, longest) for part in parts]),
        completion_mask=torch.cat([_right(part.completion_mask, longest) for part in parts]),
        old_logprobs=torch.cat([_right(part.old_logprobs, longest) for part in parts]),
        prompt=torch.cat(
            [part.prompt + offset for part, offset in zip(parts, offsets, strict=False)]
        ),
        finished=torch.cat([part.finished for part in parts]),
        texts=tuple(text for part in parts for text in part.texts),
    )


def cat_scores(parts: Sequence[Scores]) -> Scores:
    """Concatenate scores; a part that a batch lacks is NaN there."""
    names = {name: None for part in parts for name in part.parts}
    return Scores(
        total=torch.cat([part.total for part in parts]),
        parts={
            name: torch.cat(
                [part.parts.get(name, torch.full_like(part.total, torch.nan)) for part in parts]
            )
            for name in names
        },
    )


def _left(values: Tensor, length: int) -> Tensor:
    # Token id 0 is padding here: the attention mask is 0 too.
    return pad(values, (length - values.shape[1], 0))


def _right(values: Tensor, length: int) -> Tensor:
    return pad(values, (0, length - values.shape[1]))
