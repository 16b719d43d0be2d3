"""What one process does in one step: how much of it, and how it is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from g2rpo.data.loading import Fit, loading_of
from g2rpo.interfaces import Encoder
from g2rpo.records import Prompt
from g2rpo.training.estimate.assumptions import Assumptions


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of prompts, in tokens (image tokens included) and in image patches before merging."""

    longest: int
    mean: float
    most_patches: int
    mean_patches: float
    origin: str
    """How they are known, for people."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One step of one process. Every completion is taken to be as long as it may be."""

    prompts: int
    """Groups of this process."""
    group_size: int
    completion: int
    """Tokens of a completion."""
    lengths: Lengths
    updates: int
    """Optimizer updates per step."""
    micro_batch_prompts: int
    """Groups in one forward pass, at most."""
    shared: bool
    """A prompt passes once for its group."""
    checkpointing: bool
    reference: bool
    extra_passes: int
    """Passes over the batch without gradients: for the reference, for importance weights, for the
    entropy band.
    """
    redraws: bool
    """A filter may draw a batch anew while groups of earlier ones wait."""
    sampled_here: bool
    """The policy itself writes the completions."""
    engine_frac: float
    """Share of the device that an engine in this process takes for itself while completions are
    written.
    """
    engine_stays: bool
    """It keeps that share during updates."""

    @property
    def tokens(self) -> int:
        """Of the largest forward pass with gradients; a completion's last token needs none where
        its prompt is shared.
        """
        if self.shared:
            return self.micro_batch_prompts * (
                self.lengths.longest + self.group_size * (self.completion - 1)
            )
        return self.micro_batch_prompts * self.group_size * (self.lengths.longest + self.completion)

    @property
    def predicted(self) -> int:
        """Completion tokens of that pass."""
        return self.micro_batch_prompts * self.group_size * self.completion

    @property
    def micro_batches(self) -> int:
        """Forward passes of an update."""
        return -(-self.prompts // self.updates // self.micro_batch_prompts) or 1


def micro_batch_prompts(
    prompts: int,
    updates: int,
    micro_batch_prompts: int | None,
    micro_batch_tokens: int | None,
    group_tokens: int,
) -> int:
    """Groups in one forward pass, as `batch.micro_batch_prompts` and `batch.micro_batch_tokens` cut
    a minibatch of groups of `group_tokens` tokens.
    """
    minibatch = -(-prompts // updates)
    if micro_batch_tokens is not None:
        return max(1, min(minibatch, micro_batch_tokens // group_tokens))
    return min(minibatch, micro_batch_prompts or minibatch)


def sampled_lengths(prompts: Sequence[Prompt], encoder: Encoder, source: Any) -> Lengths:
    """Of some prompts, encoded as training will; those that cannot be read count for nothing, but
    one must.
    """
    fit: Fit = encoder.fit
    read = [found for found in loading_of(source).loaded(prompts, fit) if isinstance(found, Prompt)]
    if not read:
        raise ValueError(f"none of {len(prompts)} prompts can be read")
    batches = [encoder.encode([prompt]) for prompt in read]
    tokens = [int(batch.attention_mask.sum()) for batch in batches]
    patches = [
        0 if batch.image_grid_thw is None else int(batch.image_grid_thw.prod(1).sum())
        for batch in batches
    ]
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
    """The settings' own bounds, with one image per prompt, where no prompt can be looked at; `why`
    says for what reason.
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
    )


def given_lengths(assumed: Assumptions, merge: int) -> Lengths | None:
    """As the command line says, or None."""
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
