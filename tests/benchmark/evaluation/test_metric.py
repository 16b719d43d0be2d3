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

from g2rpo.benchmark.evaluation.metric import BenchmarkMetric, bootstrap_interval

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


def test_the_interval_is_that_of_the_normal_law_for_many_groups() -> None:
    scores = torch.cat([torch.ones(1300), torch.zeros(700)])
    low, high = bootstrap_interval(scores)
    half = 1.96 * math.sqrt(0.65 * 0.35 / 2000)
    assert (low, high) == pytest.approx((0.65 - half, 0.65 + half), abs=0.003)


def test_the_interval_agrees_with_resampling_row_by_row() -> None:
    scores = torch.tensor([0.0, 0.3, 0.3, 0.55, 1.0, 1.0, 0.9, 0.1])
    rng = np.random.default_rng(7)
    means = rng.choice(scores.numpy(), size=(20_000, 8)).mean(1)
    assert bootstrap_interval(scores, resamples=20_000) == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975])), abs=0.012
    )


def test_the_interval_depends_on_the_seed_and_not_on_the_order() -> None:
    scores = torch.linspace(0, 1, 37)
    assert bootstrap_interval(scores) == bootstrap_interval(scores.flip(0))
    assert bootstrap_interval(scores) != bootstrap_interval(scores, seed=1)
