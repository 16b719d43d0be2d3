"""Which tokens of a packed row belong to which prompt and completion."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask


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
