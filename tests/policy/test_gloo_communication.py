"""Gathering and summing in place gives every rank what gloo's own operations give."""

from pathlib import Path

import pytest
import torch
from rank_processes import run_ranks

pytestmark = [pytest.mark.process]


def test_parts_come_in_the_order_of_the_group_and_every_rank_keeps_its_own_sum(
    tmp_path: Path,
) -> None:
    run_ranks(Path(__file__).with_name("gloo_parts.py"), tmp_path, world=3)
    everything = torch.cat([torch.arange(5) + 10.0 * part for part in range(3)])
    total = torch.arange(15, dtype=torch.float32) * (1 + 2 + 4)
    for rank in range(3):
        place, apart, within, summed, by_gloo = torch.load(tmp_path / f"{rank}.pt")
        assert place == 2 - rank
        assert torch.equal(apart, everything)
        assert torch.equal(within, everything)
        assert torch.equal(summed, total[5 * place : 5 * place + 5])
        assert torch.equal(summed, by_gloo)
