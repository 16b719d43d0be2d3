"""One forward pass per prompt for its whole group: all prompts and completions in one packed row.

    [prompt 1 | prompt 2 | ... | completion 1.1 | ... | completion 1.g | completion 2.1 | ...]

Positions of a completion continue those of its prompt; its tokens attend to the prompt and to
itself (`prefix_attention.py`). Per prompt, the layers see P + G * C tokens instead of G * (P + C).
The last token of a completion predicts nothing, so it is left out. `stats.py` makes the pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor

from g2rpo.policy.forward import (
    completion_positions,
    prompt_positions,
)
from g2rpo.records import PromptBatch


class Segments(NamedTuple):
    """Consecutive segments of a row, as kernels for variable lengths take them."""

    offsets: Int32[Tensor, " n_plus_1"]
    """Start of each segment, and the end of the last one."""
    longest: int
    """Number of tokens of the longest segment."""


class Layout(NamedTuple):
    """The segments of a packed row; completions without tokens have none."""

    prompts: Segments
    completions: Segments
    groups: Segments
    """All completion tokens of each prompt that has any."""
    asked: Segments
    """The prompts that have completion tokens, among `asked_rows`."""
    asked_rows: Int[Tensor, " r"] | None
    """Tokens of these prompts in the row; None if every prompt is one of them."""


class Groups:
    """Lengths of prompts and completions in a packed row; all prompts come first.

    Not a dataclass: FSDP would rebuild it in every layer, to convert its tensors to the dtype of
    the weights.

    Args:
        prompt_tokens: Number of tokens of each prompt.
        completion_tokens: Number of tokens of each completion, which may be 0. Completions are
            grouped by prompt.
        flex: Whether FlexAttention attends; see `flex_prefix.py`.
    """

    def __init__(
        self,
        *,
        prompt_tokens: Int[Tensor, " p"],
        completion_tokens: Int[Tensor, " b"],
        flex: bool = False,
    ) -> None:
        self.prompt_tokens, self.completion_tokens = prompt_tokens, completion_tokens
        self.flex = flex
        self._derived: dict[Any, Any] = {}
        self.prompt_lengths: list[int] = prompt_tokens.tolist()
        self.completion_lengths: list[int] = completion_tokens.tolist()
        self.num_prompt_tokens = sum(self.prompt_lengths)
        self.num_completion_tokens = sum(self.completion_lengths)
        self.device = prompt_tokens.device
        self.group_size = len(self.completion_lengths) // len(self.prompt_lengths)

    @cached_property
    def tokens_behind(self) -> list[int]:
        """Number of completion tokens of each prompt."""
        size, lengths = self.group_size, self.completion_lengths
        return [sum(lengths[i : i + size]) for i in range(0, len(lengths), size)]

    @cached_property
    def layout(self) -> Layout:
        """The segments of the row, computed once for all layers."""
        device, lengths, totals = self.device, self.completion_lengths, self.tokens_behind
        asked = [n for n, total in zip(self.prompt_lengths, totals, strict=True) if total]
        rows = None
        if len(asked) < len(totals):
            has_tokens = torch.tensor(totals, device=device) > 0
            rows = has_tokens.repeat_interleave(self.prompt_tokens).nonzero()[:, 0]
        return Layout(
            prompts=_segments(self.prompt_lengths, device),
            completions=_segments([n for n in lengths if n], device),
            groups=_segments([n for n in totals if n], device),
            asked=_segments(asked, device),
            asked_rows=rows,
        )

    def derived(self, compute: Callable[["Groups"], Any]) -> Any:
        """Return `compute(self)`, computed once for all layers."""
        if compute not in self._derived:
            self._derived[compute] = compute(self)
        return self._derived[compute]

    def owners(self) -> tuple[Int[Tensor, " s"], Int[Tensor, " s"]]:
        """Return the prompt and the completion of every token; -1 for tokens of a prompt."""
        device = self.device
        prompts = torch.arange(len(self.prompt_tokens), device=device)
        completions = torch.arange(len(self.completion_tokens), device=device).repeat_interleave(
            self.completion_tokens
        )
        prompt = torch.cat(
            [prompts.repeat_interleave(self.prompt_tokens), completions // self.group_size]
        )
        return prompt, torch.cat([completions.new_full((self.num_prompt_tokens,), -1), completions])


def _segments(lengths: list[int], device: torch.device) -> Segments:
    offsets = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    return Segments(offsets, max(lengths, default=0))


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedGroups:
    """A packed row of `s` tokens."""

    input_ids: Int[Tensor, "1 s"]
    position_ids: Int[Tensor, "a 1 s"]
    groups: Groups
    predictors: Int[Tensor, " n"]
    """Index in the row of the token that predicts each completion token, in row-major order."""


def pack_groups(
    policy: Any,
    batch: PromptBatch,
    completion_ids: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    flex: bool = False,
) -> PackedGroups:
    """Pack prompts and completions into one row.

    Every prompt has the same number of completions, and every completion at least one token.
    """
    group_size = len(completion_ids) // len(batch.input_ids)
    positions, first = prompt_positions(policy, batch)
    tail = completion_positions(
        first.repeat_interleave(group_size), completion_ids.shape[1], len(positions)
    )
    real = batch.attention_mask.bool()
    seen = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    groups = Groups(prompt_tokens=real.sum(1), completion_tokens=seen.sum(1), flex=flex)
    # The prompt's last token predicts a completion's first one; each other token is predicted by
    # the one before it.
    places = torch.empty_like(completion_ids)
    places[:, 0] = (groups.prompt_tokens.cumsum(0) - 1).repeat_interleave(group_size)
    places[:, 1:][seen[:, :-1]] = (
        torch.arange(groups.num_completion_tokens, device=mask.device) + groups.num_prompt_tokens
    )
    return PackedGroups(
        input_ids=torch.cat([batch.input_ids[real], completion_ids[seen]])[None],
        position_ids=torch.cat([positions[:, real], tail[:, seen]], 1)[:, None],
        groups=groups,
        predictors=places[mask],
    )
