"""Numbers of a benchmark: groups count once, every rank may hold any part, and the interval is that
of the mean over groups.
"""

import math
import os
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from g2rpo.benchmark.evaluation.metric import (
    BenchmarkMetric,
    bootstrap_interval,
    score_interval,
    wilson_interval,
)

GROUPS = [(1.0, 2, 2), (0.25, 1, 0), (0.0, 3, 1), (1.0, 1, 1)]
"""Score, rows and parsed rows of four groups."""
SUBSCORES = [["a", "b"], ["a"], ["c"], ["b"]]


def counts(rows: int, parsed: int) -> dict[str, float]:
    return {
        "rows": rows,
        "parsed": parsed,
        "failed": 0,
        "by_judge": 0,
        "truncated": 1,
        "tokens": 10 * rows,
    }


def filled(places: list[int]) -> BenchmarkMetric:
    metric = BenchmarkMetric(subscores=SUBSCORES, seed=3)
    for place in places:
        score, rows, parsed = GROUPS[place]
        metric.update(place, score, **counts(rows, parsed))
    return metric


def test_a_group_counts_once_however_many_rows_it_has() -> None:
    found = filled([0, 1, 2, 3]).compute()
    assert found["score"] == (1 + 0.25 + 0 + 1) / 4
    assert (
        found["groups"],
        found["rows"],
        found["parsed"],
        found["truncated"],
        found["tokens"],
    ) == (4, 7, 4, 4, 70)


def test_sub_scores_are_means_over_the_groups_that_take_part() -> None:
    found = filled([3, 0, 1, 2]).compute()
    assert {name: value for name, value in found.items() if name.startswith("sub/")} == {
        "sub/a": 0.625,
        "sub/b": 1.0,
        "sub/c": 0.0,
    }
    assert [found[f"sub_groups/{name}"] for name in "abc"] == [2, 2, 1]


def test_a_planned_group_without_answer_has_no_part_in_any_number() -> None:
    found = filled([0, 1]).compute()
    assert found["score"] == 0.625
    assert (found["groups"], found["sub/b"]) == (2, 1.0)
    assert "sub/c" not in found


@pytest.mark.filterwarnings(
    "ignore:The ``compute`` method of metric BenchmarkMetric was called before"
)
def test_without_rows_there_is_no_score() -> None:
    assert all(math.isnan(filled([]).compute()[name]) for name in ("score", "low", "high"))


def test_states_of_two_ranks_merge_into_those_of_one() -> None:
    merged = filled([2])
    merged.merge_state(filled([3, 0, 1]))
    assert merged.compute() == filled([0, 1, 2, 3]).compute()


def _rank(rank: int, port: int, results: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = filled([1, 3, 2] if rank else [0]).compute()
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.process
@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path: os.PathLike[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    assert [torch.load(f"{tmp_path}/{rank}.pt") for rank in (0, 1)] == [
        filled([0, 1, 2, 3]).compute()
    ] * 2


def test_the_interval_of_right_and_wrong_is_wilsons_with_continuity_correction() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    expected = {
        (81, 263): (0.2535, 0.3682),
        (15, 148): (0.0598, 0.1644),
        (0, 20): (0.0, 0.2005),
        (1, 29): (0.0018, 0.1963),
    }
    for (right, count), interval in expected.items():
        assert wilson_interval(right, count) == pytest.approx(interval, abs=5e-5)
        scores = torch.cat([torch.ones(right), torch.zeros(count - right)])
        assert score_interval(scores) == wilson_interval(right, count)
    assert score_interval(torch.ones(20)) == pytest.approx((1 - 0.2005, 1.0), abs=5e-5)


def test_the_interval_of_many_shares_is_that_of_the_normal_law() -> None:
    scores = torch.cat([torch.full((1300,), 0.9), torch.zeros(700)])
    low, high = score_interval(scores)
    half = 1.96 * 0.9 * math.sqrt(0.65 * 0.35 / 2000)
    assert (low, high) == pytest.approx((0.585 - half, 0.585 + half), abs=0.003)


def test_the_bootstrap_agrees_with_resampling_row_by_row() -> None:
    scores = torch.tensor([0.0, 0.3, 0.3, 0.55, 1.0, 1.0, 0.9, 0.1])
    rng = np.random.default_rng(7)
    means = rng.choice([*scores.numpy(), 0.0, 1.0], size=(20_000, 10)).mean(1)
    assert bootstrap_interval(scores, resamples=20_000) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=0.012
    )


@pytest.mark.parametrize("count", [10, 15, 31, 100, 317, 1000])
def test_the_interval_of_right_and_wrong_covers_the_truth(count: int) -> None:
    rng = np.random.default_rng(count)
    intervals = np.array([wilson_interval(right, count) for right in range(count + 1)])
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99):
        low, high = intervals[rng.binomial(count, share, size=4000)].T
        assert ((low <= share) & (share <= high)).mean() >= 0.93, share


@pytest.mark.parametrize(("ones", "zeros"), [(0.5, 0.2), (0.8, 0.1), (0.97, 0.01), (0.6, 0.0)])
def test_the_bootstrap_covers_the_truth(ones: float, zeros: float) -> None:
    rng = np.random.default_rng(1)
    truth = ones + (1 - ones - zeros) * 0.75
    for count in (10, 40, 200):
        covered = 0
        for _ in range(300):
            draw, partial = rng.random(count), rng.choice([0.6, 0.7, 0.8, 0.9], count)
            scores = np.where(draw < ones, 1.0, np.where(draw < ones + zeros, 0.0, partial))
            low, high = score_interval(torch.from_numpy(scores))
            covered += low <= truth <= high
        assert covered / 300 >= 0.93, count


def test_the_interval_holds_the_mean() -> None:
    for scores in (torch.full((10,), 0.99), torch.full((3,), 0.01), torch.tensor([0.5])):
        low, high = score_interval(scores)
        assert 0 <= low <= scores.mean().item() <= high <= 1


def test_the_interval_depends_on_the_seed_and_not_on_the_order() -> None:
    scores = torch.linspace(0, 1, 37)
    assert bootstrap_interval(scores) == bootstrap_interval(scores.flip(0))
    assert bootstrap_interval(scores) != bootstrap_interval(scores, seed=1)
