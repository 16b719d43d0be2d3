"""AdamW of torchao, with both moments in 8 bits."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor


def adamw_8bit(
    parameters: Iterable[Tensor],
    *,
    lr: float,
    weight_decay: float = 0.0,
    betas: Sequence[float] = (0.9, 0.99),
    bf16_stochastic_round: bool = True,
) -> torch.optim.Optimizer:
    """Return the optimizer; its first step compiles a kernel.

    Args:
        parameters: The trainable parameters.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of the first and the second moment.
        bf16_stochastic_round: Whether updates of bfloat16 weights are rounded up or down at random,
            so that they are right on average. A resumed run draws other random numbers.

    Raises:
        ValueError: if torchao is not installed.
    """
    if find_spec("torchao") is None:
        raise ValueError(
            "optimizer=adamw_8bit: expected torchao, which is not installed; pip install -c"
            " constraints/ci.txt -e .[8bit], or use optimizer=adamw"
        )
    from torchao.optim import AdamW8bit

    optimizer: torch.optim.Optimizer = AdamW8bit(
        parameters,
        lr=lr,
        weight_decay=weight_decay,
        betas=tuple(betas),
        bf16_stochastic_round=bf16_stochastic_round,
    )
    return optimizer
