"""When two roads to one number count as equal: by the size of the numbers, since that is what
rounding goes by on any CPU. When two batches have the same images.
"""

import torch
from torch import Tensor

from g2rpo.records import PromptBatch


def near(found: Tensor, expected: Tensor, times: float = 2e-5) -> bool:
    """Whether the largest difference is at most `times` the largest number.

    CPUs add in different orders, so that a small number made from large ones is as uncertain as
    those: bounds for each element, or in absolute terms, hold on one CPU and fail on the next.

    Args:
        found: The result of the code under test.
        expected: The same by another road.
        times: Allowed difference, relative to the largest number; 2e-5 is about 170 times the
            spacing of float32.
    """
    found, expected = found.detach().double(), expected.detach().double()
    if found.shape != expected.shape or not torch.equal(found.isfinite(), expected.isfinite()):
        return False
    inside = expected.isfinite()
    if not inside.any():
        return True
    largest = max(1.0, float(expected[inside].abs().max()))
    return float((found - expected)[inside].abs().max()) <= times * largest


def same_images(batch: PromptBatch, expected: PromptBatch) -> bool:
    """Whether two batches have the same tensors of the same images, to the bit."""
    return len(batch.images) == len(expected.images) and all(
        ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
        for ours, theirs in zip(batch.images, expected.images, strict=True)
    )
