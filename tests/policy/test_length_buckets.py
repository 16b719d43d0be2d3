"""Segments in buckets: which share one, where their tokens are, and how little is padding."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from g2rpo.policy.length_buckets import FEW, SIMILAR, Padded, buckets

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=12)


def test_places_repeat_the_last_token_of_a_segment() -> None:
    (bucket,) = buckets([2, 0, 4], None, CPU)
    assert bucket.queries.places.tolist() == [[0, 1, 1, 1], [2, 3, 4, 5]]
    assert bucket.queries.blank is not None
    assert bucket.queries.blank.tolist() == [[False, False, True, True], [False] * 4]
    assert bucket.keys is bucket.queries


def real(segments: Padded) -> list[int]:
    """Return the places that are not padding."""
    places = segments.places
    return (places if segments.blank is None else places[~segments.blank]).flatten().tolist()


def test_keys_of_a_segment_without_queries_are_left_out() -> None:
    (bucket,) = buckets([3, 0, 3], [5, 2, 5], CPU)
    assert bucket.queries.blank is None
    assert bucket.queries.places.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert bucket.keys.blank is None
    assert bucket.keys.places.tolist() == [[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]


def test_long_and_short_segments_share_no_bucket() -> None:
    found = buckets([100, 10, 75, 74, 3], None, CPU)
    assert [real(bucket.queries) for bucket in found] == [
        [*range(100), *range(110, 185)],  # 75 is three quarters of 100
        [*range(185, 259)],
        [*range(100, 110), *range(259, 262)],  # 10 and 3 differ by fewer than 8
    ]


def test_nor_do_segments_whose_keys_are_of_different_lengths() -> None:
    found = buckets([20, 20, 20], [500, 30, 400], CPU)
    assert [real(bucket.queries) for bucket in found] == [
        [*range(20), *range(40, 60)],
        [*range(20, 40)],
    ]
    assert found[0].keys.blank is not None
    assert found[0].keys.blank.sum(1).tolist() == [0, 100]


@given(lengths=LENGTHS, data=st.data())
def test_every_token_has_one_place_and_its_own_keys(
    lengths: list[int], data: st.DataObject
) -> None:
    keys = data.draw(st.lists(st.integers(1, 60), min_size=len(lengths), max_size=len(lengths)))
    starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
    key_starts = torch.tensor([0, *keys]).cumsum(0).tolist()
    seen = []
    for bucket in buckets(lengths, keys, CPU):
        for queries, own in zip(bucket.queries.places, bucket.keys.places, strict=True):
            segment = max(i for i in range(len(lengths)) if starts[i] == queries[0])
            assert sorted(set(queries.tolist())) == [*range(*starts[segment : segment + 2])]
            assert sorted(set(own.tolist())) == [*range(*key_starts[segment : segment + 2])]
        seen += real(bucket.queries)
        for side in (bucket.queries, bucket.keys):
            long = side.places.shape[1]
            sizes = [len(set(row.tolist())) for row in side.places]
            assert all(size >= SIMILAR * long or long - size < FEW for size in sizes)
    assert sorted(seen) == [*range(sum(lengths))]
