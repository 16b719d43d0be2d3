"""Attention calls over padded rows, with one key per query head: any device, any dtype.

    prompts        [p, heads, l, d]
    far            [p, heads, g * c, d] x [p, heads, l, d]
    near           [b, heads, c, d]

On a CPU they are calls of torch's flash kernel, elsewhere matrix products, which hold the scores of
one layer in memory. The latter serve float32 on a GPU: its flash kernels know half precision only.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.policy.shared_prefix import Groups

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class PaddedCalls:
    """Makes the calls for one packed row; see `shared_softmax.Calls`."""

    def __init__(
        self,
        groups: Groups,
        query: Float[Tensor, "s h d"],
        key: Float[Tensor, "s k d"],
        value: Float[Tensor, "s k d"],
        scale: float,
    ) -> None:
        self.groups, self.scale = groups, scale
        times = query.shape[1] // key.shape[1]
        both = [
            self.split(rows.repeat_interleave(times, 1) if rows.shape[1] < query.shape[1] else rows)
            for rows in (query, key, value)
        ]
        self._prompts = tuple(prompts for prompts, _ in both)
        self._near = tuple(completions for _, completions in both if completions is not None)
        self._far = (self._wide(self._near[0]), *self._prompts[1:]) if self._near else ()
        self._mask: Tensor | None = None
        if not groups.equal_prompts:
            self._mask = torch.zeros(
                groups.prompts.shape, dtype=query.dtype, device=query.device
            ).masked_fill(~groups.prompts, float("-inf"))[:, None, None]
        self._ops = (
            (flash, flash_backward) if query.device.type == "cpu" else (products, products_backward)
        )

    def forward(self, part: str) -> tuple[Tensor, Tensor]:
        """Return output and log-sum-exp of a part."""
        if part != "far":
            states = self._prompts if part == "prompts" else self._near
            return self._ops[0](*states, 0.0, True, scale=self.scale)
        out, lse = self._ops[0](*self._far, 0.0, False, attn_mask=self._mask, scale=self.scale)
        return self._narrow(out), self._narrow(lse[..., None])[..., 0]

    def backward(
        self, part: str, grad: Tensor, out: Tensor, lse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of a part in the padded shapes of its states; padding adds 0."""
        if part != "far":
            states = self._prompts if part == "prompts" else self._near
            return self._ops[1](grad, *states, out, lse, 0.0, True, scale=self.scale)
        wide = self._wide(grad), *self._far, self._wide(out), self._wide(lse[..., None])[..., 0]
        of_query, of_key, of_value = self._ops[1](
            *wide, 0.0, False, attn_mask=self._mask, scale=self.scale
        )
        return self._narrow(of_query), of_key, of_value

    def split(self, rows: Float[Tensor, "s h d"]) -> tuple[Tensor, Tensor | None]:
        """Return prompts and completions, padded with zeros on the right: [n, h, l, d]."""
        groups, num = self.groups, self.groups.num_prompt_tokens
        return _padded(rows[:num], groups.prompts.shape, groups.prompt_places), (
            _padded(rows[num:], groups.completions.shape, groups.completion_places)
            if groups.num_completion_tokens
            else None
        )

    def joined(self, prompts: Tensor, completions: Tensor | None) -> Float[Tensor, "s h d"]:
        """Return the row without padding, from the padded shapes of `split`."""
        rows = _unpadded(prompts, self.groups.prompt_places)
        if completions is None:
            return rows
        return torch.cat([rows, _unpadded(completions, self.groups.completion_places)])

    def _wide(self, states: Float[Tensor, "b h c d"]) -> Float[Tensor, "p h gc d"]:
        """Concatenate the completions of each prompt, to attend to its keys in one call."""
        _, h, c, d = states.shape
        p = len(self.groups.prompts)
        return states.view(p, -1, h, c, d).transpose(1, 2).reshape(p, h, -1, d)

    def _narrow(self, states: Float[Tensor, "p h gc d"]) -> Float[Tensor, "b h c d"]:
        """Undo `_wide`: one row per completion."""
        p, h, _, d = states.shape
        b, c = self.groups.completions.shape
        return states.view(p, h, -1, c, d).transpose(1, 2).reshape(b, h, c, d)


def _padded(
    rows: Float[Tensor, "s h d"], shape: torch.Size, places: Int[Tensor, " s"] | None
) -> Float[Tensor, "n h l d"]:
    if places is not None:
        rows = rows.new_zeros(shape.numel(), *rows.shape[1:]).index_copy_(0, places, rows)
    return rows.reshape(*shape, *rows.shape[1:]).transpose(1, 2)


def _unpadded(
    states: Float[Tensor, "n h l d"], places: Int[Tensor, " s"] | None
) -> Float[Tensor, "s h d"]:
    rows = states.transpose(1, 2).flatten(0, 1)
    return rows if places is None else rows.index_select(0, places)


def products(
    query: Float[Tensor, "n h q d"],
    key: Float[Tensor, "n h l d"],
    value: Float[Tensor, "n h l d"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Float[Tensor, "n h q d"], Float[Tensor, "n h q"]]:
    """Return attention and log-sum-exp by matrix products, with the arguments of the CPU kernel."""
    scores = _scores(query, key, causal, attn_mask, scale)
    lse = scores.logsumexp(-1)
    return (scores - lse[..., None]).exp().to(value) @ value, lse


def products_backward(
    grad: Float[Tensor, "n h q d"],
    query: Float[Tensor, "n h q d"],
    key: Float[Tensor, "n h l d"],
    value: Float[Tensor, "n h l d"],
    out: Float[Tensor, "n h q d"],
    lse: Float[Tensor, "n h q"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `products`; `out` and `lse` may be those of a larger softmax."""
    probs = (_scores(query, key, causal, attn_mask, scale) - lse[..., None]).exp()
    mean = (grad.to(lse) * out.to(lse)).sum(-1, keepdim=True)
    of_scores = (probs * ((grad @ value.mT).to(lse) - mean) * scale).to(query)
    return of_scores @ key, of_scores.mT @ query, probs.to(value).mT @ grad


def _scores(
    query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> Float[Tensor, "n h q l"]:
    product = query @ key.mT
    scores = product.to(torch.promote_types(product.dtype, torch.float32)) * scale
    if causal:
        ones = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        return scores.masked_fill(ones.triu(1), float("-inf"))
    return scores if mask is None else scores + mask.to(scores)
