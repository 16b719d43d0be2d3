"""`policy.prefix=flex`: FlexAttention over a packed row, an alternative to the flash kernels.

It compiles a kernel, which needs a compiler and minutes. What is known about it shapes this file:

- Gradients were NaN at lengths that are no multiple of 128 (pytorch#153799), and wrong in a
  compiled backward pass with a `score_mod` (pytorch#158212). So rows are padded to a multiple of
  128, and there is no `score_mod`.
- Each new length may compile again. Past torch's limit of recompilations it silently computes
  without compiling, which holds all scores in memory and has been wrong. So lengths are dynamic,
  the limit is higher, and past it the kernels of `policy.prefix=shared` take over, with a warning.
- Ranks that compile at different times keep each other waiting; `hang_s` must allow for it.

The block mask is computed from a mask of all pairs of tokens, at about ten bytes per pair.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from g2rpo.policy.shared_prefix import Groups

log = logging.getLogger("g2rpo")
BLOCK = 128
"""Rows are padded to a multiple of this."""
RECOMPILE_LIMIT = 64
"""Compiled variants of the kernel, where torch's default is 8."""


class RecompileLimitReached(RuntimeError):
    """FlexAttention would be compiled more often than `RECOMPILE_LIMIT`."""


def flex_rows(
    query: Float[Tensor, "1 h s d"],
    key: Float[Tensor, "1 k s d"],
    value: Float[Tensor, "1 k s d"],
    groups: Groups,
    scale: float,
) -> Float[Tensor, "1 s h d"]:
    """Return the attention over a packed row.

    Raises:
        RecompileLimitReached: It would have to be compiled once too often.
    """
    tokens = query.shape[2]
    states = [pad(part, (0, 0, 0, -tokens % BLOCK)) for part in (query, key, value)]
    mask = groups.derived(block_mask)
    grouped = query.shape[1] != key.shape[1]
    if query.device.type == "cuda":
        out = _compiled(*states, block_mask=mask, scale=scale, enable_gqa=grouped)
    else:
        from torch.nn.attention.flex_attention import flex_attention

        out = flex_attention(*states, block_mask=mask, scale=scale, enable_gqa=grouped)
    return out[:, :, :tokens].transpose(1, 2)


def block_mask(groups: Groups) -> Any:
    """Return FlexAttention's block mask of a padded row; padding attends to padding."""
    from torch.nn.attention.flex_attention import create_block_mask

    prompt, completion = (
        pad(owner, (0, -len(owner) % BLOCK), value=-1) for owner in groups.owners()
    )
    return create_block_mask(  # the compiler traces the lambda: it must not call anything
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
        device=str(prompt.device),
        BLOCK_SIZE=BLOCK,
    )


def _compiled(*states: Tensor, **settings: Any) -> Tensor:
    """Call the compiled kernel.

    Raises:
        RecompileLimitReached: torch would fall back to a kernel that is not compiled.
    """
    from torch._dynamo.config import patch
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        with patch(recompile_limit=RECOMPILE_LIMIT, fail_on_recompile_limit_hit=True):
            return _kernel()(*states, **settings)
    except FailOnRecompileLimitHit as error:
        _warn_once()
        raise RecompileLimitReached(str(error)) from error


@functools.cache
def _kernel() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


@functools.cache
def _warn_once() -> None:
    log.warning(
        "policy.prefix=flex: FlexAttention was compiled %d times, torch's limit of recompilations"
        " here; policy.prefix=shared computes from now on",
        RECOMPILE_LIMIT,
    )
