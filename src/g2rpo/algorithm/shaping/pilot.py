"""Shaping bands from a pilot: quantiles of what the untrained policy does on each task.

The paper gives no bands and leaves them to future work (arXiv 2604.08539, section 6). The pilot
samples completions from the untrained policy. The length band covers the lengths of most accurate
completions, and the entropy band surrounds the measured entropy. This module only does the
statistics; `training/pilot_run.py` samples.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from g2rpo.algorithm.shaping.length import AGREE_ATOL, differs

Topology = Literal["constant", "binary", "graded", "heavy-tailed"]

HEAVY_TAIL = 3.0
"""Graded rewards with a larger excess kurtosis are heavy-tailed; that of a Laplace distribution."""
FEWEST = 16
"""Minimum number of good completions for the length band; with fewer, all completions are used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PilotTask:
    """The completions of one task, with one entry per completion."""

    tokens: Int[Tensor, " n"]
    entropy_sum: Float[Tensor, " n"]
    """Sum of exact token entropies of each completion, in nats."""
    accuracy: Float[Tensor, " n"]
    total: Float[Tensor, " n"]
    group: Int[Tensor, " n"]
    truncated: int
    """Number of completions cut at the maximum length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Measurements of one task, and the proposed bands."""

    prompts: int
    completions: int
    accuracy: float
    topology: Topology
    zero_signal_frac: float
    """Share of groups whose rewards are all equal."""
    truncated_frac: float
    tokens: tuple[int, int, int, int, int]
    """Completion lengths: shortest, lower quartile, median, upper quartile, longest."""
    entropy_nats: float
    """Mean token entropy, in nats per token."""
    good: int
    """Number of completions with at least the minimum accuracy."""
    length_band: tuple[int, int, int, int]
    entropy_band: tuple[float, float]


class Pilot:
    """Measures an untrained policy and writes a shaping file with bands for it.

    Args:
        name: Name of the shaping file; afterwards `shaping=<name>` selects it.
        prompts_per_task: Number of prompts to answer per task.
        length_weight: Weight of the length part in the file, in units of the reward.
        min_accuracy: Length counts only from this accuracy on, in [0, 1]; also written to the file.
        entropy_weight: Largest weight of the entropy penalty in the file, in loss per nat.
        entropy_margin: Half width of the entropy band over the measured entropy, in (0, 1).
    """

    def __init__(
        self,
        *,
        name: str,
        prompts_per_task: int,
        length_weight: float,
        min_accuracy: float,
        entropy_weight: float,
        entropy_margin: float,
    ) -> None:
        if prompts_per_task < 1:
            raise ValueError(f"pilot.prompts_per_task: expected at least 1, got {prompts_per_task}")
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(
                f"pilot.name: expected a file name of letters, digits, - and _, got {name!r}"
            )
        if not 0 < entropy_margin < 1:
            raise ValueError(
                f"pilot.entropy_margin: expected a share between 0 and 1, got {entropy_margin}"
            )
        self.name = name
        self.prompts_per_task = prompts_per_task
        self.length_weight = length_weight
        self.min_accuracy = min_accuracy
        self.entropy_weight = entropy_weight
        self.entropy_margin = entropy_margin

    def measure(self, found: PilotTask) -> Measured:
        """Return the measurements of one task and its proposed bands."""
        entropy = (found.entropy_sum.double().sum() / found.tokens.sum()).item()
        good = found.tokens[found.accuracy >= self.min_accuracy]
        leading = torch.ones_like(found.group, dtype=torch.bool)
        leading[1:] = found.group[1:] != found.group[:-1]
        return Measured(
            prompts=int(leading.sum()),
            completions=len(found.tokens),
            accuracy=found.accuracy.double().mean().item(),
            topology=topology(found.accuracy),
            zero_signal_frac=(~differs(found.total, found.group))[leading].double().mean().item(),
            truncated_frac=found.truncated / len(found.tokens),
            tokens=quantiles(found.tokens, 0.0, 0.25, 0.5, 0.75, 1.0),
            entropy_nats=entropy,
            good=len(good),
            length_band=length_band(good if len(good) >= FEWEST else found.tokens),
            entropy_band=(entropy * (1 - self.entropy_margin), entropy * (1 + self.entropy_margin)),
        )

    def yaml(self, measured: Mapping[str, Measured], origin: str) -> str:
        """Return the text of the shaping file; its first line contains `origin`."""
        bands = [f"    {task}: {list(m.length_band)}{_remark(m)}" for task, m in measured.items()]
        sides = [
            ", ".join(f"{task}: {m.entropy_band[side]:.3f}" for task, m in measured.items())
            for side in (0, 1)
        ]
        return "\n".join(
            [
                f"# Written by pilot.py: {origin}.",
                "_target_: g2rpo.algorithm.shaping.Shaping",
                "length:",
                "  _target_: g2rpo.algorithm.shaping.length.LengthBand",
                f"  weight: {self.length_weight}",
                f"  min_accuracy: {self.min_accuracy}",
                "  allow_in_unanimous_groups: false",
                "  bands:   # tokens",
                *bands,
                "entropy:",
                "  _target_: g2rpo.algorithm.shaping.entropy.EntropyBand",
                "  # found: "
                + ", ".join(f"{task} {m.entropy_nats:.3f}" for task, m in measured.items())
                + " nats per token",
                f"  low: {{{sides[0]}}}",
                f"  high: {{{sides[1]}}}",
                "  controller: dual",
                f"  weight: {self.entropy_weight}",
                "  step_size: 0.2",
                "  damping: 2.0",
                "  inset: 0.05",
                "  estimator: exact",
                "",
            ]
        )


def _remark(found: Measured) -> str:
    source = (
        f"{found.good} good of {found.completions}"
        if found.good >= FEWEST
        else f"all {found.completions}, too few are good"
    )
    return f"   # {source}; {found.topology}, {found.zero_signal_frac:.0%} of groups agree"


def topology(accuracy: Float[Tensor, " n"]) -> Topology:
    """Return how the accuracy of a task is distributed.

    >>> topology(torch.tensor([0.0, 1.0, 1.0])), topology(torch.tensor([0.0, 0.4, 0.5, 1.0]))
    ('binary', 'graded')
    """
    ordered = accuracy.double().sort().values
    levels = 1 + int((ordered.diff() > AGREE_ATOL).sum())
    if levels <= 2:
        return "constant" if levels == 1 else "binary"
    centered = ordered - ordered.mean()
    excess = centered.pow(4).mean() / centered.square().mean().square() - 3
    return "heavy-tailed" if excess > HEAVY_TAIL else "graded"


def length_band(tokens: Int[Tensor, " n"]) -> tuple[int, int, int, int]:
    """Return a band with its plateau from the 20th to the 80th percentile of `tokens`.

    It reaches 0 just outside the 1st and the 99th percentile.

    >>> length_band(torch.arange(101))
    (0, 20, 80, 100)
    """
    lowest, low, high, highest = quantiles(tokens, 0.01, 0.2, 0.8, 0.99)
    return max(0, lowest - 1), low, high, highest + 1


def quantiles(tokens: Int[Tensor, " n"], *shares: float) -> tuple[Any, ...]:
    """Return the quantiles of `tokens` at `shares`, each in [0, 1], without interpolation."""
    ordered = tokens.sort().values
    return tuple(int(ordered[round(share * (len(ordered) - 1))]) for share in shares)


def plain(measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
    """Return the measurements of each task as plain data for JSON."""
    return {task: asdict(found) for task, found in measured.items()}
