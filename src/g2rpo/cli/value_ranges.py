"""Numbers out of range, told before anything heavy is imported.

Constructors of this project check their own arguments and say more. Here is what they leave out:
numbers that are not finite or too large for any setting, and keys whose constructors belong to
other libraries.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

LARGEST = 1e12
"""No setting has a meaning above this."""
RANGES: dict[str, str] = {
    "seed": "[0, 4294967295]",
    "hang_s": "(0, 1e9]",
    "epochs": "[1, 1e9]",
    "batch_size": "[1, 1e9]",
    "row_tokens": "[1, 1e9]",
    "warmup_steps": "[0, 1e12]",
    "decay_frac": "[0, 1]",
    "max_grad_norm": "(0, 1e12]",
    "reward_failures": "[0, 1]",
    "betas": "[0, 1)",
    "eps": "[0, 1]",
    "lr": "[0, 100]",
    "weight_decay": "[0, 100]",
    "num_warmup_steps": "[0, 1e12]",
    "min_pixels": "[1, 1e9]",
    "max_pixels": "[1, 1e9]",
    "max_new_tokens": "[1, 1e9]",
    "temperature": "[-1e12, 1000]",
    "timeout_s": "[-1e12, 1e9]",
    "loss.kl_coef": "[-1e12, 1e6]",
    "loss.tis_clip": "(0, 1e12]",
    "rollout.tis_clip": "(0, 1e12]",
    "data.heldout": "[0, 1e12]",
    "data.check_golds": "[0, 1e12]",
    "data.shuffle_rows": "[0, 1e12]",
    "data.waiting_rows": "[1, 1e12]",
    "data.loading.workers": "[0, 1e4]",
    "data.loading.prefetch": "[1, 1e12]",
    "data.loading.max_image_pixels": "[1, 1e12]",
    "heldout.temperature": "(0, 1000]",
    "heldout.images_per_task": "[0, 1e6]",
    "eval.row_sources.demo.rows_per_benchmark": "[1, 1e9]",
    "trainer.max_steps": "[-1e12, 1e9]",
    "trainer.val_check_interval": "(0, 1e12]",
    "trainer.gradient_clip_val": "[0, 1e12]",
    "trainer.limit_train_batches": "[0, 1e12]",
    "trainer.limit_val_batches": "[0, 1e12]",
    "trainer.devices": "[-1, 1e6]",
    "trainer.num_nodes": "[1, 1e6]",
    "trainer.log_every_n_steps": "[1, 1e12]",
    "trainer.num_sanity_val_steps": "[-1, 1e12]",
    "trainer.profiler.row_limit": "[-1, 1e12]",
    "trainer.profiler.schedule.wait": "[0, 1e12]",
    "trainer.profiler.schedule.warmup": "[0, 1e12]",
    "trainer.profiler.schedule.active": "[1, 1e12]",
    "trainer.profiler.schedule.repeat": "[0, 1e12]",
    "pilot.length_weight": "[0, 1e12]",
    "pilot.min_accuracy": "[0, 1]",
    "pilot.entropy_weight": "[0, 1e12]",
    "every_n_batches": "[1, 1e12]",
    "every_n_train_steps": "[0, 1e12]",
    "every_minutes": "(0, 1e9]",
    "every_s": "[0, 1e9]",
    "rows_per_task": "[0, 1e6]",
    "tables_every": "[1, 1e12]",
    "part_mb": "(0, 1e9]",
    "image_px": "[1, 1e5]",
    "patience": "[0, 1e12]",
    "min_delta": "[0, 1e12]",
}
"""Allowed interval by key, or by its last word. Below -1e12, constructors check the lower end."""
ORDERED = (("model.min_pixels", "model.max_pixels"),)
"""Pairs of keys of which the second may not be smaller than the first."""


def refuse_out_of_range(cfg: DictConfig) -> None:
    """Raise `ValueError` with the full key for the first number that is out of range."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    for key, value in numbers(plain):
        interval = interval_of(key)
        if not inside(value, interval):
            raise ValueError(f"{key}: expected {in_words(interval)}, got {value}")
    for low, high in ORDERED:
        least, most = (OmegaConf.select(cfg, key, throw_on_missing=False) for key in (low, high))
        if isinstance(least, int) and isinstance(most, int) and least > most:
            raise ValueError(f"{high}: expected at least {low}={least}, got {most}")


def numbers(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Yield the key and the value of every number; the items of a list share its key.

    >>> list(numbers({"optimizer": {"betas": [0.9, 0.99], "fused": True}, "seed": 0}))
    [('optimizer.betas', 0.9), ('optimizer.betas', 0.99), ('seed', 0)]
    """
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from numbers(value, (*path, str(name)))
    elif isinstance(tree, list):
        for value in tree:
            yield from numbers(value, path)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield ".".join(path), tree


def interval_of(key: str) -> str:
    """Return the interval of a key, such as `[0, 1)`."""
    return RANGES.get(key) or RANGES.get(key.rpartition(".")[2], f"[-{LARGEST:g}, {LARGEST:g}]")


def inside(value: float, interval: str) -> bool:
    """Return whether a finite number lies in an interval.

    >>> [inside(value, "[0, 1)") for value in (0, 0.5, 1, float("nan"))]
    [True, True, False, False]
    """
    low, high = _ends(interval)
    return (low < value or (low == value and interval[0] == "[")) and (
        value < high or (value == high and interval[-1] == "]")
    )


def in_words(interval: str) -> str:
    """Return an interval in words.

    >>> in_words("[0, 1)"), in_words("(0, 1e12]"), in_words("[-1e12, 1000]")
    ('a number of at least 0 and below 1', 'a finite number above 0', 'a number of at most 1000')
    >>> in_words("[0, 100]"), in_words("[-1e+12, 1e+12]")
    ('a number from 0 to 100', 'a finite number of at most 1e+12')
    """
    low, high = _ends(interval)
    if low > -LARGEST and high < LARGEST and interval[0] + interval[-1] == "[]":
        return f"a number from {low:.15g} to {high:.15g}"
    parts = []
    if low > -LARGEST:
        parts.append(f"{'of at least' if interval[0] == '[' else 'above'} {low:.15g}")
    if high < LARGEST or low == -LARGEST:
        parts.append(f"{'of at most' if interval[-1] == ']' else 'below'} {high:g}")
    return f"a {'finite ' if high == LARGEST else ''}number {' and '.join(parts)}"


def _ends(interval: str) -> tuple[float, float]:
    low, high = re.split(r",\s*", interval[1:-1])
    return float(low), float(high)
