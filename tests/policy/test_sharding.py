"""A policy that is not sharded is used as it is; for sharded ones see `training/test_ranks.py`."""

from typing import Any

import torch

from g2rpo.policy.forward import full_tensor, gathered, is_sharded, local_tensor, one_forward


def test_a_plain_policy_is_called_directly(policy: Any) -> None:
    assert not is_sharded(policy)
    assert one_forward(policy, lambda model, x, y: (model, x, y), 1, y=2) == (policy, 1, 2)
    before = [id(parameter) for parameter in policy.parameters()]
    with gathered(policy):
        assert [id(parameter) for parameter in policy.parameters()] == before


def test_a_plain_tensor_is_its_own_whole_and_part() -> None:
    value = torch.ones(2)
    assert full_tensor(value) is local_tensor(value) is value
