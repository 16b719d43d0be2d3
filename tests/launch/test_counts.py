"""Trainer and launcher must agree on the number of processes."""

import pytest
from launch.launchers import slurm

from g2rpo.launch.counts import check_counts


def test_another_number_of_processes_than_was_started_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in slurm(rank=1, size=4, nodes=2).items():
        monkeypatch.setenv(name, value)
    check_counts(2, 2)
    with pytest.raises(ValueError, match="expected 4 processes, as many as srun has") as caught:
        check_counts(1, 1)
    assert "trainer.devices=2 trainer.num_nodes=2" in str(caught.value)


def test_several_nodes_need_a_launcher() -> None:
    check_counts(8, 1)
    with pytest.raises(ValueError, match=r"trainer\.num_nodes=2: expected torchrun or srun"):
        check_counts(8, 2)
