"""What the kernels for variable lengths are given. Their arithmetic: `test_shared_softmax.py`."""

import importlib.machinery
import inspect
import sys
import types

import pytest
import torch
from flash_stand_in import STAND_IN
from packed_rows import groups_of, states
from torch import Tensor

from g2rpo.policy import varlen_calls
from g2rpo.policy.varlen_calls import VarlenCalls, flash_fits, use_flash_3


def segments(prompts: tuple[int, ...], completions: tuple[int, ...]) -> dict[str, list[int]]:
    layout = groups_of(prompts, completions).layout
    return {
        name: getattr(layout, name).offsets.tolist()
        for name in ("prompts", "completions", "groups", "asked")
    }


def test_completions_without_tokens_are_no_segments() -> None:
    assert segments((5, 3), (2, 0, 1, 4)) == {
        "prompts": [0, 5, 8],
        "completions": [0, 2, 3, 7],
        "groups": [0, 2, 7],
        "asked": [0, 5, 8],
    }


def test_nor_are_the_keys_of_a_prompt_whose_completions_are_all_empty() -> None:
    groups = groups_of((5, 3, 2), (0, 0, 3, 1, 0, 2))
    assert groups.layout.asked.offsets.tolist() == [0, 3, 5]
    assert groups.layout.asked_rows.tolist() == [5, 6, 7, 8, 9]
    calls = VarlenCalls(groups, *states(16), 0.3, kernels=STAND_IN)
    out, lse = calls.forward("far")
    _, of_key, of_value = calls.backward("far", torch.ones_like(out), out, lse)
    for grad in (of_key, of_value):
        assert len(grad) == 10
        assert not grad[:5].any()
        assert grad[5:].any()


def test_grouped_heads_are_not_repeated() -> None:
    seen: list[Tensor] = []

    def forward(
        query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object
    ) -> list[Tensor]:
        seen.extend((query, key, value))
        return [query, query[..., 0].T]

    kernels = STAND_IN._replace(forward=forward)
    VarlenCalls(groups_of((5, 3), (2, 0, 1, 4)), *states(15), 0.3, kernels=kernels).forward("near")
    assert [part.shape for part in seen] == [(7, 4, 16), (7, 2, 16), (7, 2, 16)]


def test_states_on_a_cpu_are_not_for_the_flash_kernels() -> None:
    assert not flash_fits(torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("dtype", "size", "capability", "fits"),
    [
        (torch.bfloat16, 128, (9, 0), True),
        (torch.float16, 256, (8, 0), True),
        (torch.float32, 128, (9, 0), False),
        (torch.bfloat16, 36, (9, 0), False),
        (torch.bfloat16, 264, (9, 0), False),
        (torch.bfloat16, 128, (7, 5), False),
    ],
)
def test_dtype_head_size_and_gpu_decide_on_the_flash_kernels(
    dtype: torch.dtype,
    size: int,
    capability: tuple[int, int],
    fits: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    query = types.SimpleNamespace(
        device=torch.device("cuda"), dtype=dtype, shape=torch.Size((2, size))
    )
    assert inspect.unwrap(flash_fits)(query) is fits


@pytest.mark.parametrize(("major", "installed"), [(9, True), (9, False), (8, True)])
def test_flash_attention_3_is_switched_on_where_it_is_installed_for_a_hopper(
    major: int, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched: list[str] = []
    monkeypatch.setattr(
        torch.nn.attention, "activate_flash_attention_impl", switched.append, raising=False
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (major, 0))
    if installed:
        package = types.ModuleType(varlen_calls.FLASH_3)
        package.__spec__ = importlib.machinery.ModuleSpec(varlen_calls.FLASH_3, None)
        monkeypatch.setitem(sys.modules, varlen_calls.FLASH_3, package)
    use_flash_3.cache_clear()
    assert use_flash_3() is (major == 9 and installed)
    assert switched == (["FA3"] if major == 9 and installed else [])
    use_flash_3.cache_clear()
