"""Segments of a packed row in buckets of similar length, for kernels that take padded rows.

A bucket is padded to its longest segment. Sampled completions differ in length severalfold, so one
bucket for all of them would be mostly padding.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

SIMILAR = 0.75
"""Segments share a bucket if the shorter one has at least this share of the longer one's tokens."""
FEW = 8
"""Segments share a bucket, too, if they differ by fewer tokens: a call has a cost of its own."""


class Padded(NamedTuple):
    """Segments [n, l] as places in a row, padded with the place of a segment's last token.

    A repeated token keeps exponentials of padding finite, as zeros would not.
    """

    places: Int[Tensor, "n l"]
    blank: Bool[Tensor, "n l"] | None
    """True at padding; None if nothing is padded."""


class Bucket(NamedTuple):
    """Queries and the keys that they attend to; the same if segments attend to themselves."""

    queries: Padded
    keys: Padded


def buckets(
    queries: Sequence[int], keys: Sequence[int] | None, device: torch.device
) -> list[Bucket]:
    """Sort segments into buckets; those without queries are left out.

    Args:
        queries: Number of tokens of each segment, of consecutive segments of a row.
        keys: Number of keys of each segment, of consecutive segments of another row; None if
            segments attend to themselves.
        device: Device of the places.
    """
    both = list(zip(queries, queries if keys is None else keys, strict=True))
    found: list[list[int]] = []
    for i in sorted((i for i, n in enumerate(queries) if n), key=lambda i: both[i], reverse=True):
        bucket = next((b for b in found if _similar([both[j] for j in (*b, i)])), None)
        if bucket is None:
            found.append([i])
        else:
            bucket.append(i)
    made = []
    for bucket in map(sorted, found):
        padded = _padded(queries, bucket, device)
        made.append(Bucket(padded, padded if keys is None else _padded(keys, bucket, device)))
    return made


def _similar(lengths: list[tuple[int, int]]) -> bool:
    """Return whether numbers of queries, and those of keys, are similar."""
    return all(
        min(side) >= SIMILAR * max(side) or max(side) - min(side) < FEW
        for side in zip(*lengths, strict=True)
    )


def _padded(lengths: Sequence[int], segments: list[int], device: torch.device) -> Padded:
    starts = [0, *accumulate(lengths)]
    first = torch.tensor([starts[i] for i in segments])[:, None]
    size = torch.tensor([lengths[i] for i in segments])[:, None]
    offsets = torch.arange(int(size.max()))
    places = (first + torch.minimum(offsets, size - 1)).to(device)
    return Padded(places, None if (size == size[0]).all() else (offsets >= size).to(device))
