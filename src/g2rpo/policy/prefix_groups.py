"""Which tokens of a packed row belong to which prompt and completion."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Lengths of prompts and completions in a packed row; all prompts come first."""

    prompt_tokens: Int[Tensor, " p"]
    completion_tokens: Int[Tensor, " b"]
    """May be 0. Completions are grouped by prompt."""
    num_prompt_tokens: int = field(init=False)
    prompts: Bool[Tensor, "p l"] = field(init=False)
    """True at the tokens of each prompt, padded on the right."""
    completions: Bool[Tensor, "b c"] = field(init=False)
    """True at the tokens of each completion, padded on the right."""

    def __post_init__(self) -> None:
        for name, lengths in (
            ("prompts", self.prompt_tokens),
            ("completions", self.completion_tokens),
        ):
            longest = torch.arange(int(lengths.max()), device=lengths.device)
            object.__setattr__(self, name, longest < lengths[:, None])
        object.__setattr__(self, "num_prompt_tokens", int(self.prompt_tokens.sum()))

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
        if "_block_mask" not in self.__dict__:
            prompt, completion = self.owners()
            made = create_block_mask(  # the compiler traces the lambda: it must not call anything
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
            object.__setattr__(self, "_block_mask", made)
        return self.__dict__["_block_mask"]
