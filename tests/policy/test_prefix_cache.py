"""Single tokens behind shared prompts, against a softmax over all keys that a row may see, written
out row by row.
"""

from types import SimpleNamespace

import pytest
import torch
import transformers
from closeness import near
from packaging.version import Version
from torch import Tensor, nn

from g2rpo.policy.prefix_cache import ROOM, PrefixCache, cache_argument

HEADS, KV_HEADS, SIZE, SCALE, LAYERS = 6, 2, 8, 0.4, 2
REAL = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], dtype=torch.bool)
GROUP = 4


def drawn(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Row:
    """What one row should see, in each layer."""

    def __init__(self, prompts: list[tuple[Tensor, Tensor]], owner: int) -> None:
        self.keys = [keys[owner][:, REAL[owner]] for keys, _ in prompts]
        self.values = [values[owner][:, REAL[owner]] for _, values in prompts]

    def attends(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        self.keys[layer] = torch.cat([self.keys[layer], key], 1)
        self.values[layer] = torch.cat([self.values[layer], value], 1)
        keys, values = (
            states[layer].repeat_interleave(HEADS // KV_HEADS, 0).double()
            for states in (self.keys, self.values)
        )
        return ((query.double() @ keys.mT * SCALE).softmax(-1) @ values)[:, 0]


def made(prompts: list[tuple[Tensor, Tensor]]) -> PrefixCache:
    layers = [SimpleNamespace(keys=keys, values=values) for keys, values in prompts]
    return PrefixCache(prompts=SimpleNamespace(layers=layers), mask=REAL, group_size=GROUP)


def prompt_states() -> list[tuple[Tensor, Tensor]]:
    return [
        (drawn(3, KV_HEADS, 5, SIZE, seed=layer), drawn(3, KV_HEADS, 5, SIZE, seed=10 + layer))
        for layer in range(LAYERS)
    ]


def step(cache: PrefixCache, rows: list[Row], seed: int) -> None:
    """One token through all layers, compared."""
    for layer in range(LAYERS):
        query, key, value = (
            drawn(len(rows), heads, 1, SIZE, seed=100 * seed + layer)
            for heads in (HEADS, KV_HEADS, KV_HEADS)
        )
        out = cache.attend(layer, query, *cache.update(key, value, layer), SCALE)
        expected = [
            row.attends(layer, *states)
            for row, *states in zip(rows, query, key, value, strict=True)
        ]
        assert near(out[:, 0], torch.stack(expected).float())


def test_every_row_sees_its_prompt_and_itself_while_rows_and_prompts_leave() -> None:
    prompts = prompt_states()
    cache, rows = made(prompts), [Row(prompts, owner) for owner in range(3) for _ in range(GROUP)]
    for seed in range(3):
        step(cache, rows, seed)
    for seed, kept in (
        (3, [0, 1, 2, 5, 8, 9, 10, 11]),
        (4, [0, 3, 4, 6, 7]),
        (5, [1, 3]),
    ):  # ragged; without prompt 0's last; alike
        cache.select(torch.tensor(kept))
        rows = [rows[place] for place in kept]
        step(cache, rows, seed)
        step(cache, rows, seed + 20)
    assert cache.written == 9


def test_a_prompt_is_held_once_and_leaves_with_its_last_row() -> None:
    cache = made(prompt_states())
    assert [keys.shape[0] for keys, _ in cache.prompts] == [3, 3]
    cache.select(torch.tensor([0, 2, 9]))
    assert [values.shape[0] for _, values in cache.prompts] == [2, 2]
    assert cache.owner.tolist() == [0, 0, 1]


def test_room_grows_without_changing_what_is_seen() -> None:
    prompts = prompt_states()
    cache, rows = made(prompts), [Row(prompts, owner) for owner in range(3) for _ in range(GROUP)]
    for seed in range(2 * ROOM + 2):
        step(cache, rows, seed)
    assert cache.written == 2 * ROOM + 2


def test_a_token_is_written_in_place() -> None:
    cache, states = made(prompt_states()), drawn(12, KV_HEADS, 1, SIZE, seed=3)
    keys = [cache.update(states, states, layer)[0] for layer in (0, 1, 0, 1)]
    assert keys[0].data_ptr() == keys[2].data_ptr()
    assert [k.shape[2] for k in keys] == [1, 1, 2, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(dtype: torch.dtype) -> None:
    halves = [(keys.to(dtype), values.to(dtype)) for keys, values in prompt_states()]
    query, key, value = (
        drawn(12, heads, 1, SIZE, seed=7).to(dtype) for heads in (HEADS, KV_HEADS, KV_HEADS)
    )
    outs = []
    for cast in (dtype, torch.float32):
        cache = made([(keys.to(cast), values.to(cast)) for keys, values in halves])
        outs.append(
            cache.attend(0, query.to(cast), *cache.update(key.to(cast), value.to(cast), 0), SCALE)
        )
    assert outs[0].dtype == dtype
    assert near(outs[0].float(), outs[1], 8 * torch.finfo(dtype).eps)


def test_layers_may_pass_further_keywords() -> None:
    """Attention layers of transformers 5.24 call `update(…, kwargs=…)`, earlier ones do not."""
    key = drawn(len(REAL) * GROUP, KV_HEADS, 1, SIZE, seed=1)
    plain, further = made(prompt_states()), made(prompt_states())
    assert torch.equal(
        plain.update(key, 2 * key, 0)[1], further.update(key, 2 * key, 0, kwargs={"mask": None})[1]
    )


class Renamed(nn.Module):
    def forward(self, input_ids: Tensor, cache: object = None) -> Tensor:
        return input_ids


class Former(nn.Module):
    def forward(self, input_ids: Tensor, past_key_values: object = None) -> Tensor:
        return input_ids


def test_the_cache_has_the_name_that_the_model_knows() -> None:
    assert cache_argument(Renamed(), 1) == {"cache": 1}
    assert cache_argument(Former(), 1) == {"past_key_values": 1}


def test_transformers_does_not_warn_of_the_name() -> None:
    newer = Version(transformers.__version__) >= Version("5.24")
    model = transformers.Qwen3VLTextModel
    assert list(cache_argument(model.__new__(model), 1)) == [
        "cache" if newer else "past_key_values"
    ]
