"""One forward pass per prompt for its whole group: all prompts and completions in one packed row.

    [prompt 1 | prompt 2 | ... | completion 1.1 | ... | completion 1.g | completion 2.1 | ...]

Positions of a completion continue those of its prompt; its tokens attend to the prompt and to
itself (`prefix_attention.py`). Per prompt, the layers see P + G * C tokens instead of G * (P + C).
The last token of a completion predicts nothing, so it is left out. `stats.py` makes the pass.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from g2rpo.policy.forward import (
    completion_positions,
    prompt_positions,
)
from g2rpo.records import PromptBatch


class Groups:
    """Lengths of prompts and completions in a packed row; all prompts come first.

    Not a dataclass: FSDP would rebuild it in every layer, to convert its tensors to the dtype of
    the weights.

    Args:
        prompt_tokens: Number of tokens of each prompt.
        completion_tokens: Number of tokens of each completion, which may be 0. Completions are
            grouped by prompt.
    """

    def __init__(
        self, *, prompt_tokens: Int[Tensor, " p"], completion_tokens: Int[Tensor, " b"]
    ) -> None:
        self.prompt_tokens, self.completion_tokens = prompt_tokens, completion_tokens
        self.num_prompt_tokens = int(prompt_tokens.sum())
        self.prompts: Bool[Tensor, "p l"] = _padded(prompt_tokens)
        """True at the tokens of each prompt, padded on the right."""
        self.completions: Bool[Tensor, "b c"] = _padded(completion_tokens)
        """True at the tokens of each completion, padded on the right."""
        self._block_mask: Any = None

    def owners(self) -> tuple[Int[Tensor, " s"], Int[Tensor, " s"]]:
        """Return the prompt and the completion of every token; -1 for tokens of a prompt."""
        device = self.prompt_tokens.device
        prompts = torch.arange(len(self.prompt_tokens), device=device)
        completions = torch.arange(len(self.completion_tokens), device=device).repeat_interleave(
            self.completion_tokens
        )
        group_size = len(self.completion_tokens) // len(self.prompt_tokens)
        prompt = torch.cat(
            [prompts.repeat_interleave(self.prompt_tokens), completions // group_size]
        )
        return prompt, torch.cat([completions.new_full((self.num_prompt_tokens,), -1), completions])

    def block_mask(self) -> Any:
        """Return FlexAttention's block mask; it is built once per row, not once per layer."""
        if self._block_mask is None:
            prompt, completion = self.owners()
            self._block_mask = (
                create_block_mask(  # the compiler traces the lambda: it must not call anything
                    lambda _batch, _head, query, key: (
                        (prompt[key] == prompt[query])
                        & (
                            ((completion[key] == completion[query]) & (key <= query))
                            | ((completion[key] == -1) & (completion[query] >= 0))
                        )
                    ),
                    None,
                    None,
                    len(prompt),
                    len(prompt),
                    device=prompt.device,
                    _compile=prompt.is_cuda,
                )
            )
        return self._block_mask


def _padded(lengths: Int[Tensor, " n"]) -> Bool[Tensor, "n m"]:
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedGroups:
    """A packed row of `s` tokens."""

    input_ids: Int[Tensor, "1 s"]
    position_ids: Int[Tensor, "a 1 s"]
    groups: Groups
    predictors: Int[Tensor, " n"]
    """Index in the row of the token that predicts each completion token, in row-major order."""


def pack_groups(
    policy: Any, batch: PromptBatch, completion_ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]
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
    groups = Groups(prompt_tokens=real.sum(1), completion_tokens=seen.sum(1))
    # The prompt's last token predicts a completion's first one; each other token is predicted by
    # the one before it.
    places = torch.empty_like(completion_ids)
    places[:, 0] = (groups.prompt_tokens.cumsum(0) - 1).repeat_interleave(group_size)
    places[:, 1:][seen[:, :-1]] = torch.arange(int(seen.sum()), device=mask.device) + int(
        real.sum()
    )
    return PackedGroups(
        input_ids=torch.cat([batch.input_ids[real], completion_ids[seen]])[None],
        position_ids=torch.cat([positions[:, real], tail[:, seen]], 1)[:, None],
        groups=groups,
        predictors=places[mask],
    )
