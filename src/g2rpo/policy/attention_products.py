"""Attention by matrix products, with the arguments of torch's flash kernel for a CPU.

It holds all scores in memory. Half precision is computed in float32, except for the products.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def products(
    query: Float[Tensor, "n k q d"],
    key: Float[Tensor, "n k l d"],
    value: Float[Tensor, "n k l d"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Float[Tensor, "n k q d"], Float[Tensor, "n k q"]]:
    """Return attention and log-sum-exp by matrix products, with the arguments of the CPU kernel.

    If it is causal there may be several queries per key: those of all positions for one query head,
    then those for the next.
    """
    scores = _scores(query, key, causal, attn_mask, scale)
    largest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(largest).exp_()
    total = weights.sum(-1, keepdim=True)
    out = weights.div_(total).to(value) @ value
    return out, largest.add_(total.log_())[..., 0]


def products_backward(
    grad: Float[Tensor, "n k q d"],
    query: Float[Tensor, "n k q d"],
    key: Float[Tensor, "n k l d"],
    value: Float[Tensor, "n k l d"],
    out: Float[Tensor, "n k q d"],
    lse: Float[Tensor, "n k q"],
    dropout: float,
    causal: bool,
    *,
    attn_mask: Float[Tensor, "n 1 1 l"] | None = None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `products`; `out` and `lse` may be those of a larger softmax."""
    key = key.contiguous()  # once for both of its products
    probs = _scores(query, key, causal, attn_mask, scale).sub_(lse[..., None]).exp_()
    mean = torch.linalg.vecdot(grad.to(lse), out.to(lse))[..., None]
    of_probs = (grad @ value.mT).to(lse)
    of_scores = (probs * (of_probs - mean)).mul_(scale).to(query)
    return of_scores @ key, of_scores.mT @ query, probs.to(value).mT @ grad


def _scores(
    query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> Float[Tensor, "n k q l"]:
    product = query @ key.mT
    scores = product.to(torch.promote_types(product.dtype, torch.float32)).mul_(scale)
    if causal:
        length = scores.shape[-1]
        later = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill_(later.repeat(scores.shape[-2] // length, 1), float("-inf"))
    return scores if mask is None else scores.add_(mask)
