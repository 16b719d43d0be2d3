"""Groups of completions: generated, scored, selected and joined.

The group size may depend on the task. A completion that cannot be judged costs that completion, not
the run. Selecting and joining batches changes only their padding.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from g2rpo.interfaces import Reward, RolloutEngine
from g2rpo.records import LOGGED, Failed, Prompt, PromptBatch, Rollouts, Sampling, Scores
from g2rpo.reward.workers.inline import score_each
from g2rpo.reward.workers.outcome import Outcome
from g2rpo.stopwatch import timed


def generate_groups(
    engine: RolloutEngine,
    batch: PromptBatch,
    sampling: Sampling,
    group_size_of: Mapping[str, int],
    seed: int,
) -> Rollouts:
    """Return completions for a batch, in the order of its prompts.

    The engine is called once for each group size that occurs in the batch.

    Args:
        engine: Engine that generates.
        batch: Prompts.
        sampling: Sampling settings, with the default group size.
        group_size_of: Group sizes of tasks that differ from the default.
        seed: Seed of this draw.
    """
    sizes = [group_size_of.get(prompt.task, sampling.group_size) for prompt in batch.prompts]
    if len(set(sizes)) == 1:
        return engine.generate(batch, sampling.with_group_size(sizes[0]), seed)
    parts, owners = [], []
    for size in sorted(set(sizes)):
        rows = torch.tensor(
            [row for row, own in enumerate(sizes) if own == size], device=batch.input_ids.device
        )
        part = engine.generate(select_prompts(batch, rows), sampling.with_group_size(size), seed)
        parts.append(part)
        owners.append(rows[part.prompt])
    joined = replace(cat_rollouts(parts), prompt=torch.cat(owners))
    return take_rollouts(joined, joined.prompt.argsort(stable=True))


def group_means(
    values: Float[Tensor, " b"], prompt: Int[Tensor, " b"], num_prompts: int
) -> Float[Tensor, " p"]:
    """Return each group's mean in float64, on the CPU, where sums are deterministic."""
    owner = prompt.cpu()
    sums = torch.zeros(num_prompts, dtype=torch.float64).index_add_(0, owner, values.double().cpu())
    return sums / torch.bincount(owner, minlength=num_prompts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Scores of a rollout batch, and which completions could not be judged (their scores are 0)."""

    scores: Scores
    failed: Bool[Tensor, " b"]


@timed("reward")
def score_rollouts(
    reward: Reward, prompts: Sequence[Prompt], rollouts: Rollouts, failure_budget: float
) -> Scored:
    """Score every completion of the prompts of a batch.

    Raises:
        RuntimeError: More completions failed than `failure_budget` allows, see `scored_of`.
    """
    asked = [prompts[owner] for owner in rollouts.prompt.tolist()]
    outcomes = score_each(reward, rollouts.texts, asked)
    return scored_of(outcomes, asked, rollouts, failure_budget)


def scored_of(
    outcomes: Sequence[Outcome],
    asked: Sequence[Prompt],
    rollouts: Rollouts,
    failure_budget: float,
) -> Scored:
    """Return the outcomes of completions as columns.

    Args:
        outcomes: One per completion.
        asked: The prompt of each completion.
        rollouts: The completions.
        failure_budget: Maximum share of completions that may fail, in [0, 1].

    Raises:
        RuntimeError: More completions failed; the message names the first failing record.
    """
    failures = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, Failed)]
    if len(failures) > failure_budget * len(outcomes):
        first = failures[0]
        raise RuntimeError(
            f"reward: {len(failures)} of {len(outcomes)} completions could not be judged, more than"
            f" reward_failures={failure_budget:g} allows. First: {_named(asked[first])}:"
            f" {outcomes[first].reason}; completion {rollouts.texts[first][:200]!r}"
        )
    device = rollouts.old_logprobs.device
    failed = torch.tensor([isinstance(outcome, Failed) for outcome in outcomes], device=device)
    columns = {
        name: torch.tensor(values, device=device) for name, values in _columns(outcomes, asked)
    }
    total = columns.pop("total")
    return Scored(scores=Scores(total=total, parts=columns), failed=failed)


def _columns(
    outcomes: Sequence[dict[str, float] | Failed], prompts: Sequence[Prompt]
) -> list[tuple[str, list[float]]]:
    """Return total and parts by name.

    A failed completion gets 0 in the parts that others of its task have, or in accuracy at least. A
    part that a completion lacks is NaN.
    """
    of_task: dict[str, set[str]] = {}
    for outcome, prompt in zip(outcomes, prompts, strict=True):
        own = set() if isinstance(outcome, Failed) else outcome.keys()
        of_task.setdefault(prompt.task, {"total"}).update(own)
    for own in of_task.values():
        if not own & {"accuracy", LOGGED + "accuracy"}:
            own.add("accuracy")
    rows = [
        dict.fromkeys(of_task[prompt.task], 0.0) if isinstance(outcome, Failed) else outcome
        for outcome, prompt in zip(outcomes, prompts, strict=True)
    ]
    names = sorted(set().union(*of_task.values()))
    return [(name, [row.get(name, math.nan) for row in rows]) for name in names]


def _named(prompt: Prompt) -> str:
    """Return the prompt's id, with file and line if it was read from a file."""
    return f"prompt {prompt.id!r}" + (
        f" ({prompt.meta['file']}, line {prompt.meta.get('line')})" if "file" in prompt.meta else ""
    )


def select_prompts(batch: PromptBatch, rows: Int[Tensor, " k"]) -> PromptBatch:
    """Return some prompts of a batch, with their images."""
    owner = torch.repeat_interleave(torch.arange(len(batch.prompts)), batch.num_images.cpu())
    images = [int(i) for row in rows.tolist() for i in (owner == row).nonzero()[:, 0]]
    return PromptBatch(
        prompts=tuple(batch.prompts[row] for row in rows.tolist()),
        input_ids=batch.input_ids[rows],
        attention_mask=batch.attention_mask[rows],
        num_images=batch.num_images[rows],
        position=batch.position[rows],
        images=tuple(batch.images[i] for i in images),
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
        weight_versions=(
            None if rollouts.weight_versions is None else rollouts.weight_versions[mine]
        ),
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
    return PromptBatch(
        prompts=tuple(prompt for batch in batches for prompt in batch.prompts),
        input_ids=torch.cat([_left(batch.input_ids, longest) for batch in batches]),
        attention_mask=torch.cat([_left(batch.attention_mask, longest) for batch in batches]),
        num_images=torch.cat([batch.num_images for batch in batches]),
        position=torch.cat([batch.position for batch in batches]),
        images=tuple(image for batch in batches for image in batch.images),
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
        weight_versions=_cat_versions(parts, longest),
    )


def _cat_versions(parts: Sequence[Rollouts], longest: int) -> Int[Tensor, "b t"] | None:
    versions = [part.weight_versions for part in parts]
    known = [_right(each, longest, -1) for each in versions if each is not None]
    assert len(known) in (0, len(parts)), "one engine either versions all of its tokens or none"
    return torch.cat(known) if known else None


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


def _right(values: Tensor, length: int, filler: int = 0) -> Tensor:
    return pad(values, (0, length - values.shape[1]), value=filler)
