"""Stands in for torch's CUDA operators of variable-length flash attention, on a CPU.

It has their arguments, dtypes, shapes and layout: every call is first made to the operators
themselves with meta tensors, which checks the arguments and gives the shapes. What the CUDA kernels
demand beyond that, or read without a check, is asserted. The numbers are those of a softmax by
matrix products, segment by segment.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from g2rpo.policy.varlen_calls import FLASH, Kernels


def flash_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cum_seq_q: Tensor,
    cum_seq_k: Tensor,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    return_debug_mask: bool,
    *,
    scale: float,
) -> tuple[Tensor, ...]:
    sizes = cum_seq_q, cum_seq_k, max_q, max_k
    check_segments(query, key, value, *sizes)
    shapes = FLASH.forward(
        *metas(query, key, value), *metas(*sizes), dropout_p, is_causal, return_debug_mask,
        scale=scale,
    )  # fmt: skip
    out, lse = torch.full_like(query, torch.nan), torch.full(shapes[1].shape, torch.nan)
    for q, k in segments(cum_seq_q, cum_seq_k):
        logits = scores(query[q], key[k], is_causal, scale)
        lse[:, q] = logits.logsumexp(-1)
        probs = (logits - lse[:, q, None]).exp().to(value.dtype)
        out[q] = torch.einsum("hqk,khd->qhd", probs, repeated(value[k], query))
    state = [torch.zeros(part.shape, dtype=part.dtype) for part in shapes[2:]]
    assert [part.shape for part in (out, lse)] == [part.shape for part in shapes[:2]]
    return out, lse, *state


def flash_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    cum_seq_q: Tensor,
    cum_seq_k: Tensor,
    max_q: int,
    max_k: int,
    dropout_p: float,
    is_causal: bool,
    rng_state: Tensor,
    unused: Tensor,
    *,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    sizes = cum_seq_q, cum_seq_k, max_q, max_k
    check_segments(query, key, value, *sizes)
    shapes = FLASH.backward(
        *metas(grad_out, query, key, value, out, logsumexp), *metas(*sizes), dropout_p, is_causal,
        *metas(rng_state, unused), scale=scale,
    )  # fmt: skip
    # read by their pointers, as float32 [heads, total queries] and as states of queries
    assert logsumexp.dtype == torch.float32
    assert logsumexp.shape == (query.shape[1], len(query))
    assert logsumexp.is_contiguous()
    assert grad_out.shape == out.shape == query.shape
    assert grad_out.dtype == out.dtype == query.dtype
    assert grad_out.stride(-1) == out.stride(-1) == 1
    assert (rng_state.dtype, rng_state.shape) == (torch.uint64, (2,))
    grads = [torch.full_like(part, torch.nan) for part in (query, key, value)]
    for q, k in segments(cum_seq_q, cum_seq_k):
        keys, values = repeated(key[k], query), repeated(value[k], query)
        probs = (scores(query[q], key[k], is_causal, scale) - logsumexp[:, q, None]).exp()
        mean = (grad_out[q].float() * out[q].float()).sum(-1).T[..., None]
        of_probs = torch.einsum("qhd,khd->hqk", grad_out[q].float(), values.float())
        of_scores = (probs * (of_probs - mean) * scale).to(query.dtype)
        grads[0][q] = torch.einsum("hqk,khd->qhd", of_scores, keys)
        of_keys = torch.einsum("hqk,qhd->khd", of_scores, query[q])
        of_values = torch.einsum("hqk,qhd->khd", probs.to(query.dtype), grad_out[q])
        for grad, part in zip(grads[1:], (of_keys, of_values), strict=True):
            grad[k] = part.unflatten(1, (key.shape[1], -1)).sum(2)
    assert [grad.shape for grad in grads] == [part.shape for part in shapes]
    return tuple(grads)


STAND_IN = Kernels(flash_forward, flash_backward)


def metas(*values: Any) -> list[Any]:
    return [x.detach().to("meta") if isinstance(x, Tensor) else x for x in values]


def check_segments(
    query: Tensor, key: Tensor, value: Tensor, cum_q: Tensor, cum_k: Tensor, max_q: int, max_k: int
) -> None:
    assert query.dtype == key.dtype == value.dtype
    assert query.ndim == key.ndim == value.ndim == 3
    assert query.shape[1] % key.shape[1] == 0
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert cum_q.dtype == cum_k.dtype == torch.int32
    assert len(cum_q) == len(cum_k)
    assert cum_q.is_contiguous()
    assert cum_k.is_contiguous()
    for cum, states, longest in ((cum_q, query, max_q), (cum_k, key, max_k)):
        assert (int(cum[0]), int(cum[-1])) == (0, len(states))
        assert int(cum.diff().min()) > 0  # CUDA kernels differ in what an empty segment gets
        assert int(cum.diff().max()) <= longest
    # then queries of grouped heads would be regrouped, without reading their offsets
    assert max_q > 1 or query.shape[1] == key.shape[1]


def segments(cum_q: Tensor, cum_k: Tensor) -> Iterator[tuple[slice, slice]]:
    for i in range(len(cum_q) - 1):
        yield slice(int(cum_q[i]), int(cum_q[i + 1])), slice(int(cum_k[i]), int(cum_k[i + 1]))


def repeated(states: Tensor, query: Tensor) -> Tensor:
    return states.repeat_interleave(query.shape[1] // states.shape[1], 1)


def scores(query: Tensor, key: Tensor, causal: bool, scale: float) -> Tensor:
    """[heads, queries, keys]; a causal mask is aligned to the last query and key."""
    product = torch.einsum("qhd,khd->hqk", query.float(), repeated(key, query).float()) * scale
    hidden = torch.ones(product.shape[1:], dtype=torch.bool).triu(1 + len(key) - len(query))
    return product.masked_fill(hidden, float("-inf")) if causal else product
