"""Copies to a GPU are pinned and not waited for; nothing else is."""

from typing import Any

import pytest
import torch

from g2rpo.host_copy import copied
from g2rpo.records import Prompt, PromptBatch

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is asked of tensors; they stay where they are."""
    found: Calls = []

    def to(value: torch.Tensor, device: Any, **more: Any) -> torch.Tensor:
        found.append(("to", str(device), more))
        return value

    def pin_memory(value: torch.Tensor) -> torch.Tensor:
        found.append(("pin",))
        return value

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    return found


def test_a_copy_to_a_gpu_goes_through_pinned_memory(calls: Calls) -> None:
    copied(torch.zeros(3), "cuda:1")
    assert calls == [("pin",), ("to", "cuda:1", {"non_blocking": True})]


def test_memory_that_is_pinned_is_not_pinned_again(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda value: True)
    copied(torch.zeros(3), torch.device("cuda"))
    assert calls == [("to", "cuda", {"non_blocking": True})]


@pytest.mark.parametrize(("source", "device"), [("cpu", "cpu"), ("meta", "cpu"), ("meta", "cuda")])
def test_other_copies_are_waited_for(source: str, device: str, calls: Calls) -> None:
    copied(torch.zeros(3, device=source), device)
    assert calls == [("to", device, {})]


def test_a_batch_of_prompts_is_copied_so(calls: Calls) -> None:
    image = {
        "pixel_values": torch.zeros(2, 3),
        "image_grid_thw": torch.ones(1, 3, dtype=torch.long),
    }
    prompt = Prompt(id="a", task="math", text="", images=(), answer="", answer_type="text")
    batch = PromptBatch(
        prompts=(prompt,),
        input_ids=torch.zeros(1, 4, dtype=torch.long),
        attention_mask=torch.ones(1, 4, dtype=torch.long),
        num_images=torch.ones(1, dtype=torch.long),
        position=torch.arange(1),
        images=(image,),
    )
    batch.to("cuda")
    assert calls.count(("pin",)) == calls.count(("to", "cuda", {"non_blocking": True})) == 6
