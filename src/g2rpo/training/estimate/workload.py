"""The work of one process in one step: prompts, completions, and how they are cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from g2rpo.data.loading import Fit, loading_of
from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.estimate.activations import cache
from g2rpo.training.estimate.assumptions import Assumptions
from g2rpo.training.estimate.shape import Shape


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of prompts in tokens, image tokens included, and in image patches before merging."""

    longest: int
    mean: float
    most_patches: int
    mean_patches: float
    origin: str
    """Says where the lengths come from."""
    bounded: bool = False
    """Whether they are the bounds in the settings."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One step of one process; every completion is assumed to have the maximum length."""

    prompts: int
    """Number of prompts of this process."""
    group_size: int
    completion: int
    """Tokens of a completion."""
    lengths: Lengths
    updates: int
    """Optimizer updates per step."""
    micro_batch_prompts: int
    """Largest number of prompts in one forward pass; each part of a split group has its own."""
    micro_batch_tokens: int | None = None
    """Largest number of tokens in one forward pass, if it is cut by tokens."""
    row_completions: int
    """Largest number of completions that share a pass of their prompt."""
    shared: bool
    """Whether a prompt passes once for its group."""
    checkpointing: bool
    reference: bool
    task_gradients: int = 1
    """Number of tasks whose gradients exist at the same time."""
    extra_passes: int
    """Number of passes without gradients: for reference, importance weights and entropy band."""
    redraws: bool
    """Whether a filter may draw another batch while groups of earlier ones wait."""
    at_once: float = 1.0
    """Largest number of prompts in one call of the engine, as a multiple of `prompts`."""
    sampled_here: bool
    """Whether the policy itself generates the completions."""
    engine_frac: float
    """Share of the device that an engine in this process uses during rollouts."""
    engine_stays: bool
    """Whether it keeps that share during updates."""
    engine_devices: int = 1
    """Number of devices over which the engine shards its weights."""
    concurrency: int | None = None
    """Largest number of completions that an engine generates at the same time."""
    shards: int = 1
    """Number of processes over which weights, gradients and optimizer state are spread."""
    nodes: int = 1
    across_nodes: bool = False
    """Whether weights are sharded over all nodes; else every node has all of them."""

    @property
    def asked(self) -> int:
        """Largest number of prompts in one call of the engine."""
        return int(self.at_once * self.prompts)

    @property
    def tokens(self) -> int:
        """Tokens of the largest forward pass with gradients.

        With shared prompts, the last token of a completion is not passed.
        """
        return self.micro_batch_prompts * self.row_tokens

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest group, or of the longest part of a split one."""
        if self.shared:
            return self.lengths.longest + self.row_completions * (self.completion - 1)
        return self.row_completions * (self.lengths.longest + self.completion)

    @property
    def predicted(self) -> int:
        """Completion tokens of a forward pass, if all completions have the maximum length."""
        return self.micro_batch_prompts * self.row_completions * self.completion

    @property
    def micro_batches(self) -> int:
        """Number of forward passes of an update, if all completions have the maximum length."""
        rows = -(-self.group_size // self.row_completions)
        return -(-self.prompts * rows // self.updates // self.micro_batch_prompts) or 1

    def passes(self, completion: float) -> int:
        """Return the number of forward passes of a step with mean lengths."""
        if self.micro_batch_tokens is None:
            return self.updates * self.micro_batches
        tokens = self.prompts * (self.lengths.mean + self.group_size * completion)
        return max(self.updates, round(tokens / self.micro_batch_tokens))

    def engine_needs(self, shape: Shape) -> int:
        """Return the bytes that an engine needs at least: its weights and one sequence."""
        sequence = (self.lengths.longest + self.completion) * cache(shape)
        return (shape.weights * shape.compute + sequence) // self.engine_devices


def row_of(group_size: int, most: int) -> int:
    """Return the completions of the longest part of a group that is split evenly."""
    return -(-group_size // -(-group_size // most))


def micro_batch(
    prompts: int, plan: BatchPlan, group_size: int, prompt: int, completion: int
) -> tuple[int, int]:
    """Return the largest number of prompts in one forward pass, and of completions of a prompt.

    Args:
        prompts: Prompts of this process in a rollout batch.
        plan: How a rollout batch is cut.
        group_size: Completions of the largest group.
        prompt: Tokens of the longest prompt.
        completion: Tokens of the longest completion.
    """
    minibatch = -(-prompts // min(plan.num_minibatches, prompts))
    limit, row = plan.micro_batch_tokens, group_size
    if plan.completions_per_row and (limit is None or prompt + group_size * completion > limit):
        row = row_of(group_size, plan.completions_per_row)
    rows = minibatch * -(-group_size // row)
    if limit is not None:
        return max(1, min(rows, limit // (prompt + row * completion))), row
    return min(rows, plan.micro_batch_prompts or rows), row


def sampled_lengths(prompts: Sequence[Prompt], encoder: Encoder, source: Any) -> Lengths:
    """Measure the lengths of some prompts, encoded as in training; unreadable ones are left out.

    Raises:
        ValueError: if none of the prompts can be read.
    """
    fit: Fit = encoder.fit
    read = [found for found in loading_of(source).loaded(prompts, fit) if isinstance(found, Prompt)]
    if not read:
        raise ValueError(f"none of {len(prompts)} prompts can be read")
    batches = [encoder.encode([prompt]) for prompt in read]
    tokens = [int(batch.attention_mask.sum()) for batch in batches]
    patches = [sum(len(image["pixel_values"]) for image in batch.images) for batch in batches]
    left_out = f", {len(prompts) - len(read)} could not be read" if len(read) < len(prompts) else ""
    return Lengths(
        longest=max(tokens),
        mean=sum(tokens) / len(tokens),
        most_patches=max(patches),
        mean_patches=sum(patches) / len(patches),
        origin=f"from the first {len(prompts)} prompts of the data{left_out}",
    )


def bounded_lengths(
    max_tokens: int | None, max_pixels: int | None, patch_px: int, why: str
) -> Lengths:
    """Return the bounds in the settings, with one image per prompt.

    Args:
        max_tokens: `data.loading.max_prompt_tokens`.
        max_pixels: `model.max_pixels`.
        patch_px: Side of an image patch in pixels.
        why: Why no prompt can be read.

    Raises:
        ValueError: if a bound is missing.
    """
    if max_tokens is None or max_pixels is None:
        missing = "data.loading.max_prompt_tokens" if max_tokens is None else "model.max_pixels"
        raise ValueError(
            f"estimate: no prompt can be looked at ({why}), and {missing} gives no bound; set it,"
            " or say how long prompts are: estimate.prompt_tokens=1500 estimate.image_tokens=1000"
        )
    patches = max_pixels // patch_px**2
    return Lengths(
        longest=max_tokens,
        mean=max_tokens,
        most_patches=patches,
        mean_patches=patches,
        origin=(
            "bounds data.loading.max_prompt_tokens and model.max_pixels, since no prompt can be"
            f" looked at ({why})"
        ),
        bounded=True,
    )


def given_lengths(assumed: Assumptions, merge: int) -> Lengths | None:
    """Return the lengths given in `estimate.*`, or None."""
    if assumed.prompt_tokens is None:
        return None
    patches = merge**2 * (assumed.image_tokens or 0)
    return Lengths(
        longest=assumed.prompt_tokens,
        mean=assumed.prompt_tokens,
        most_patches=patches,
        mean_patches=patches,
        origin="as given",
    )
