"""The cache of fixed shapes gives what `PrefixCache` gives, which is tested against a softmax."""

from types import SimpleNamespace

import pytest
import torch
from closeness import near
from graph_stand_in import Guard
from torch import Tensor

from g2rpo.policy import static_cache
from g2rpo.policy.prefix_cache import PrefixCache
from g2rpo.policy.static_cache import StaticCache

HEADS, KV_HEADS, SIZE, SCALE, LAYERS = 6, 2, 8, 0.4, 2
REAL = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], dtype=torch.bool)
GROUP, LIMIT = 4, 11


def drawn(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def caches(
    dtype: torch.dtype = torch.float32, limit: int = LIMIT
) -> tuple[PrefixCache, StaticCache]:
    prompts = SimpleNamespace(
        layers=[
            SimpleNamespace(
                keys=drawn(3, KV_HEADS, 5, SIZE, seed=layer).to(dtype),
                values=drawn(3, KV_HEADS, 5, SIZE, seed=10 + layer).to(dtype),
            )
            for layer in range(LAYERS)
        ]
    )
    return (
        PrefixCache(prompts=prompts, mask=REAL, group_size=GROUP),
        StaticCache(prompts=prompts, mask=REAL, group_size=GROUP, limit=limit),
    )


def step(cache: PrefixCache, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return what all layers attend to, for one token per row."""
    outs = []
    for layer in range(LAYERS):
        query, key, value = (
            drawn(len(cache.owner), heads, 1, SIZE, seed=100 * seed + layer).to(dtype)
            for heads in (HEADS, KV_HEADS, KV_HEADS)
        )
        outs.append(cache.attend(layer, query, *cache.update(key, value, layer), SCALE))
    if isinstance(cache, StaticCache):
        cache.advance()
    return torch.stack(outs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_gives_what_the_growing_cache_gives_while_rows_leave_and_rooms_grow(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_cache, "CAPACITY", 2)
    plain, static = caches(dtype)
    leave = {3: [0, 1, 2, 5, 8, 9, 10, 11], 5: [0, 3, 4, 6, 7], 9: [1, 3]}
    capacities = []
    for seed in range(LIMIT):
        if seed in leave:
            plain.select(torch.tensor(leave[seed]))
            static.select(torch.tensor(leave[seed]))
        if seed == static.capacity:
            static.grow()
        capacities.append(static.capacity)
        ours, theirs = step(static, seed, dtype), step(plain, seed, dtype)
        assert near(ours.float(), theirs.float(), 1e-5 if dtype == torch.float32 else 0.05)
    assert capacities == [2, 2, 4, 4, 8, 8, 8, 8, 11, 11, 11]
    assert static.length.tolist() == [LIMIT]


def test_a_step_keeps_its_tensors_and_reads_none_of_them() -> None:
    _, static = caches(limit=1000)
    assert static.capacity == static_cache.CAPACITY

    def addresses() -> list[int]:
        assert static.unwritten is not None
        held = [static.length, static.unwritten, *(t for own in static._own for t in own)]
        return [tensor.data_ptr() for tensor in held]

    before = addresses()
    with Guard() as guard:
        for seed in range(3):
            step(static, seed)
    assert guard.found == []
    assert addresses() == before


def test_memory_that_held_nan_before_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, static = caches()
    # as the allocator may give it: whatever is not set to zero is NaN
    monkeypatch.setattr(Tensor, "new_empty", lambda t, *s: torch.full(s, torch.nan, dtype=t.dtype))
    static.grow()
    for seed in range(3):
        assert near(step(static, seed), step(plain, seed))


def test_a_step_that_was_broken_off_can_be_repeated() -> None:
    plain, static = caches()
    step(static, 0)
    step(plain, 0)
    broken = drawn(len(static.owner), KV_HEADS, 1, SIZE, seed=99)
    static.update(broken, broken, 0)
    static.update(broken, broken, 1)  # no `advance`
    assert near(step(static, 1), step(plain, 1))


def test_it_never_holds_more_than_its_limit() -> None:
    _, static = caches(limit=7)
    assert static.capacity == 7
    assert (static.get_query_offset(), static.get_mask_sizes(1)) == (0, (1, 0))
