"""Compute log-probability and entropy from hidden states in chunks of the vocabulary.

The forward pass stores two numbers per token; the backward pass recomputes the logits chunk by
chunk. Logits of shape [n, V] are never held in memory, and the head's gradient is written once.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from g2rpo.policy.float32_linear import Float32Linear
from g2rpo.policy.forward import computed, masked_logits, without_autocast

NEVER = -1e30
"""Logit of a forbidden token. Differences of -inf would be NaN; the exponential is 0 in both cases.
"""
PIECE_BYTES = {"cpu": 2**23, "cuda": 2**28}
"""Chunk size in bytes of float32 logits by device type.

On a CPU it was measured: chunks have to fit the cache (`perf/head.py`). On a GPU it is an estimate
until the head part of `bash perf/gpu.sh` has run on one; that part names the fastest size.
"""
CALLED_TOKENS = 256
"""Tokens per chunk for a head that is more than a matrix."""
FEWEST_COLUMNS = 256
"""Minimum number of vocabulary columns per chunk; narrower matrix products are slow."""


def head_stats(
    head: torch.nn.Module,
    hidden: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    *,
    forbidden: tuple[int, ...] = (),
    temperature: float = 1.0,
    columns: int | None = None,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the log-probability of each target and the entropy of its distribution.

    Both are float32, in nats.

    Args:
        head: The policy's output projection. If it is more than a matrix (bias, adapter, hooks), it
            is called on chunks of tokens instead.
        hidden: Final hidden states.
        targets: Token ids.
        forbidden: Token ids with probability 0.
        temperature: Sampling temperature; 0 (greedy) counts as 1.
        columns: Number of vocabulary columns per chunk; None chooses by device and number of
            tokens.
    """
    if (
        type(head) not in (torch.nn.Linear, Float32Linear)
        or head.bias is not None
        or head._forward_hooks
        or head._forward_pre_hooks
    ):
        return _called(head, hidden, targets, forbidden, temperature)
    width = columns or max(
        FEWEST_COLUMNS, piece_bytes(hidden.device.type) // (4 * max(1, len(hidden)))
    )
    banned = torch.tensor(sorted(forbidden), dtype=torch.long, device=hidden.device)
    hidden = computed(hidden)
    return HeadStats.apply(hidden, head.weight, targets, banned, temperature or 1.0, width)


def piece_bytes(device: str) -> int:
    """Return the chunk size in bytes of float32 logits for a device type."""
    return PIECE_BYTES.get(device, PIECE_BYTES["cuda"])


class HeadStats(torch.autograd.Function):
    """Log-probability and entropy with a chunked backward pass.

    For p = softmax(logits) and H = -sum p log p, the gradients by the logits are
    d log p_y = 1[y] - p and dH = -p (log p + H). Both passes compute in the dtype of the hidden
    states, into which weights of another dtype are cast chunk by chunk.
    """

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        banned: Tensor,
        temperature: float,
        width: int,
    ) -> tuple[Tensor, Tensor]:
        """Pass over the vocabulary once, and rescale the sums when a larger logit appears.

        Takes hidden [n, d], weight [v, d], targets [n] and banned ids, and returns
        log-probabilities [n] and entropies [n] in nats.
        """
        largest = torch.full((len(hidden),), NEVER, device=hidden.device)
        total, weighted, chosen = (
            torch.zeros_like(largest),
            torch.zeros_like(largest),
            torch.zeros_like(largest),
        )
        for start in range(0, len(weight), width):
            logits, _ = _piece(hidden, weight, start, width, banned, temperature)
            inside, local = _local(targets, start, logits.shape[1])
            chosen = torch.where(inside, logits.gather(1, local)[:, 0], chosen)
            before, largest = largest, torch.maximum(largest, logits.amax(1))
            probs = logits.sub_(largest[:, None]).exp()
            scale = (before - largest).exp()
            weighted = (weighted + total * (before - largest)) * scale + torch.linalg.vecdot(
                probs, logits
            )
            total = total * scale + probs.sum(1)
        lse = largest + total.log()
        logprobs = (chosen - lse).masked_fill(torch.isin(targets, banned), float("-inf"))
        entropy = total.log() - weighted / total
        ctx.save_for_backward(hidden, weight, targets, banned, lse, entropy)
        ctx.temperature, ctx.width = temperature, width
        ctx.set_materialize_grads(False)
        return logprobs, entropy

    @staticmethod
    @without_autocast
    def backward(
        ctx: Any, grad_logprobs: Tensor | None, grad_entropy: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Recompute the chunks; each row of the head's gradient [v, d] is written once."""
        hidden, weight, targets, banned, lse, entropy = ctx.saved_tensors
        grad_logprobs = torch.zeros_like(lse) if grad_logprobs is None else grad_logprobs
        if grad_entropy is not None:
            constant = grad_entropy * (lse - entropy) - grad_logprobs
        grad_hidden = torch.zeros(hidden.shape, device=hidden.device)
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, len(weight), ctx.width):
            logits, mine = _piece(hidden, weight, start, ctx.width, banned, ctx.temperature)
            inside, local = _local(targets, start, logits.shape[1])
            grad = (logits - lse[:, None]).exp_()  # the probabilities
            if grad_entropy is None:
                grad.mul_(-grad_logprobs[:, None])
            else:  # -p (g_logprobs + g_entropy (log p + H)), with log p = logits - lse
                grad.mul_(torch.addcmul(constant[:, None], logits, grad_entropy[:, None], value=-1))
            grad.scatter_add_(1, local, torch.where(inside, grad_logprobs, 0.0)[:, None])
            grad.index_fill_(1, mine, 0.0)
            if ctx.temperature != 1:
                grad /= ctx.temperature
            grad = grad.to(hidden.dtype)
            grad_hidden += grad @ weight[start : start + ctx.width].to(hidden.dtype)
            if grad_weight is not None:
                _write_product(grad.T, hidden, grad_weight[start : start + ctx.width])
        return grad_hidden.to(hidden.dtype), grad_weight, None, None, None, None


def _called(
    head: torch.nn.Module,
    hidden: Float[Tensor, "n d"],
    targets: Int[Tensor, " n"],
    forbidden: tuple[int, ...],
    temperature: float,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Compute the same for any head, in chunks of tokens that the backward pass recomputes."""
    pieces = zip(hidden.split(CALLED_TOKENS), targets.split(CALLED_TOKENS), strict=True)
    found = [
        checkpoint(_of_tokens, head, h, y, forbidden, temperature, use_reentrant=False)
        for h, y in pieces
    ]
    logprobs, entropy = (torch.cat(values) for values in zip(*found, strict=True))
    return logprobs, entropy


def _of_tokens(
    head: torch.nn.Module,
    hidden: Tensor,
    targets: Tensor,
    forbidden: tuple[int, ...],
    temperature: float,
) -> tuple[Tensor, Tensor]:
    logp = masked_logits(head, hidden, forbidden, temperature).log_softmax(-1)
    # A forbidden token has p = 0 and log p = -inf. Their product is NaN, also in the gradient, so
    # log p is replaced before the product.
    finite = logp.masked_fill(logp == float("-inf"), 0.0)
    return logp.gather(-1, targets[:, None])[:, 0], -(logp.exp() * finite).sum(-1)


def _piece(
    hidden: Tensor, weight: Tensor, start: int, width: int, banned: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return float32 logits of the tokens [start, start + width), and the forbidden ones among
    them, as offsets from `start`.
    """
    logits = (hidden @ weight[start : start + width].to(hidden.dtype).T).float()
    if temperature != 1:
        logits /= temperature
    mine = banned[(banned >= start) & (banned < start + width)] - start
    return logits.index_fill_(1, mine, NEVER), mine


def _write_product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write `a @ b`, without a temporary matrix if the dtypes are equal."""
    if out.dtype == b.dtype:
        torch.mm(a, b, out=out)
    else:
        out.copy_(a @ b)


def _local(targets: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Return whether each target lies in a chunk, and its offset [n, 1], clamped to the chunk."""
    local = targets - start
    return (local >= 0) & (local < width), local.clamp(0, width - 1)[:, None]
