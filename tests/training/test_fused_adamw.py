"""Which optimizers get the fused kernel; its update is that of the default."""

from copy import deepcopy

import pytest
import torch
from closeness import near

from g2rpo.training import fused_adamw
from g2rpo.training.fused_adamw import fuse


def updated(*, fused: bool) -> tuple[torch.Tensor, dict[str, object]]:
    weight = torch.linspace(-1, 1, 12).requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=0.1, betas=(0.9, 0.99), weight_decay=0.01)
    if fused:
        fuse(optimizer)
    for scale in (1.0, -0.3, 2.0):
        (scale * weight.square().sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return weight.detach(), optimizer.param_groups[0]


def test_the_fused_update_is_that_of_the_default() -> None:
    (ours, group), (theirs, _) = updated(fused=True), updated(fused=False)
    assert group["fused"] is True
    assert near(ours, theirs, 1e-6)


def test_what_the_user_chose_stays() -> None:
    weights = [torch.zeros(2, requires_grad=True)]
    for settings in ({"fused": False}, {"foreach": True}):
        optimizer = torch.optim.AdamW(weights, **settings)
        fuse(optimizer)
        assert optimizer.param_groups[0]["fused"] is settings.get("fused")
    other = torch.optim.SGD(weights, lr=0.1)
    fuse(other)
    assert not other.param_groups[0]["fused"]


def test_a_group_with_a_weight_elsewhere_keeps_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as weights that FSDP offloads to the CPU."""
    monkeypatch.setattr(fused_adamw, "FUSED_ON", ("meta",))
    here, there = torch.zeros(2, requires_grad=True), torch.zeros(2, device="meta").requires_grad_()
    optimizer = torch.optim.AdamW([{"params": [there]}, {"params": [here]}])
    optimizer.add_param_group({"params": [torch.zeros_like(here), torch.zeros_like(there)]})
    fuse(optimizer)
    assert [group["fused"] for group in optimizer.param_groups] == [True, None, None]


@pytest.mark.parametrize("saved_fused", [True, False])
def test_a_resumed_run_goes_on_with_the_kernel_of_its_checkpoint(
    saved_fused: bool,
) -> None:
    """The fused kernel keeps its step counts on the device, the default on the CPU."""

    def step(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> torch.Tensor:
        weight.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return weight.detach().clone()

    first, second = (torch.linspace(-1, 1, 12).requires_grad_() for _ in range(2))
    before, after = torch.optim.AdamW([first], lr=0.1), torch.optim.AdamW([second], lr=0.1)
    if saved_fused:
        fuse(before)
    fuse(after)
    step(before, first)
    second.data.copy_(first.data)
    after.load_state_dict(deepcopy(before.state_dict()))
    assert after.param_groups[0]["fused"] is (True if saved_fused else None)
    assert torch.equal(step(after, second), step(before, first))
