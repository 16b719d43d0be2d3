"""An error on one rank is one on all; tests/training/test_ranks.py has the sums."""

from collections.abc import Sequence

import pytest
import torch

from g2rpo import ranks
from g2rpo.launch import marks


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """This is rank 1 of two; what rank 0 contributes to a list is what the test puts there."""
    theirs: list[str] = []
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "rank", lambda: 1)

    def all_gather_list(items: Sequence[str]) -> list[str]:
        return [*theirs, *items]

    monkeypatch.setattr(ranks, "all_gather_list", all_gather_list)
    return theirs


def test_what_one_rank_raises_all_raise_with_its_number(two: list[str]) -> None:
    with (
        pytest.raises(RuntimeError, match=r"^rank 1: no memory$") as caught,
        ranks.raise_on_all_ranks(),
    ):
        raise ValueError("no memory")
    assert isinstance(caught.value.__cause__, ValueError)
    two.append("rank 0: lost")
    with pytest.raises(RuntimeError, match=r"^rank 0: lost$"), ranks.raise_on_all_ranks():
        pass
    with (
        pytest.raises(RuntimeError, match=r"^rank 0: lost\nrank 1: no memory$"),
        ranks.raise_on_all_ranks(),
    ):
        raise ValueError("no memory")
    two.clear()
    with ranks.raise_on_all_ranks():
        pass


def test_an_error_of_this_rank_alone_has_its_number(two: list[str]) -> None:
    with pytest.raises(RuntimeError, match=r"^rank 1: no memory$"), ranks.named():
        raise ValueError("no memory")


def test_a_single_process_raises_what_it_raises() -> None:
    for block in (ranks.raise_on_all_ranks, ranks.named):
        with pytest.raises(ValueError, match=r"^no memory$"), block():
            raise ValueError("no memory")


@pytest.mark.parametrize(("mine", "theirs"), [(15, 0), (0, 15), (15, 15)])
def test_a_signal_to_any_rank_takes_all_out_of_the_step_at_the_end_of_the_block(
    mine: int, theirs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = []

    def all_reduce_max(values: torch.Tensor) -> torch.Tensor:
        met.append(int(values))
        return values.clamp(min=theirs)

    monkeypatch.setattr(ranks, "all_reduce_max", all_reduce_max)
    monkeypatch.setattr(marks, "_signum", mine)
    monkeypatch.setattr(marks, "_droppable", True)
    finished = []

    def step() -> None:
        with ranks.dropping_together():
            marks.drop_if_asked()
            finished.append("the work of this rank")

    with pytest.raises(marks.StoppedTogether) as caught:
        step()
    assert (caught.value.signum, met) == (15, [mine])
    assert bool(finished) == (mine == 0)


def test_sharded_passes_are_left_by_all_ranks_at_once_and_the_block_is_met_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met = []

    def all_reduce_max(values: torch.Tensor) -> torch.Tensor:
        met.append(int(values))
        return values.clamp(min=15)

    monkeypatch.setattr(ranks, "all_reduce_max", all_reduce_max)
    with pytest.raises(marks.StoppedTogether), ranks.dropping_together():
        ranks.stop_together()
    assert met == [0, 0]  # the other rank heard it, and meets twice too
