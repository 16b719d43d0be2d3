"""Seconds by hand: operations over speed, bytes over bandwidth, layers times what Python takes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from g2rpo.policy.flops import text_flops
from g2rpo.training.estimate.seconds import seconds_of
from g2rpo.training.estimate.shape import Shape


def test_passes_cost_their_operations(shape: Shape, load: Callable, device: Callable) -> None:
    found = seconds_of(shape, load(), device(flops=1.0), 0)
    vision = 4 * (100 * 8 + 8**2)
    assert found["prefill"] == vision + 4 * (1000 * 10 + 10 * 50)
    # the formula of a pass of training, for completions of one more token: their last one passes
    # here as well
    lengths = torch.tensor([10] * 4), torch.tensor([5] * 12), torch.arange(4).repeat_interleave(3)
    exact = text_flops(shape.cost, *lengths, shared=True)
    assert found["forward"] == pytest.approx(vision + exact, rel=0.2)
    assert found["forward"] > vision + exact
    assert (found["backward"], found["without gradients"]) == (2 * found["forward"], 0.0)


def test_a_repeated_prompt_costs_as_often_as_it_passes(
    shape: Shape, load: Callable, device: Callable
) -> None:
    once, often = (
        seconds_of(shape, load(shared=shared), device(flops=1.0), 0)["forward"]
        for shared in (True, False)
    )
    assert often - once == 2 * 4 * (1000 * 10 + 10 * 50)


def test_what_is_computed_again_and_passes_without_gradients_are_passes(
    shape: Shape, load: Callable, device: Callable
) -> None:
    found = seconds_of(shape, load(checkpointing=True, extra_passes=2), device(), 0)
    assert found["backward"] == pytest.approx(3 * found["forward"])
    assert found["without gradients"] == pytest.approx(2 * found["forward"])


def test_decoding_is_bound_by_memory_by_products_or_by_python(
    shape: Shape, load: Callable, device: Callable
) -> None:
    # weights; the cache of 4 prompts and of 12 half-written completions; 2 heads' scores in 2
    # layers, float32, six times
    read = 5000 * 2 + (4 * 10 + 12 * 2.5) * (2 * 6 * 2 * 2) + 6 * 4 * 2 * 2 * 12 * 12.5
    assert seconds_of(shape, load(), device(flops=1e12, bandwidth=1.0), 0)[
        "decode"
    ] == pytest.approx(5 * read)
    work = 12 * (1000 + 2000 + 10 * 12.5)
    assert seconds_of(shape, load(), device(flops=1.0, bandwidth=1e12), 0)[
        "decode"
    ] == pytest.approx(5 * work)
    python = seconds_of(shape, load(), device(flops=1e12, bandwidth=1e12, layer_s=0.5), 0)
    assert python["decode"] == pytest.approx(5 * 2 * 0.5)
    assert python["forward"] == pytest.approx(1 * (2 + 3) * 0.5)
    assert seconds_of(
        shape, load(micro_batch_prompts=1), device(flops=1e12, bandwidth=1e12, layer_s=0.5), 0
    )["forward"] == pytest.approx(10.0)


def test_an_update_moves_weights_gradients_and_state(
    shape: Shape, load: Callable, device: Callable
) -> None:
    assert (
        seconds_of(shape, load(updates=2), device(bandwidth=100.0), 400)["optimizer"]
        == 2 * 3 * (20_000 + 400) / 100
    )


def test_shorter_completions_take_less(shape: Shape, load: Callable, device: Callable) -> None:
    assert (
        seconds_of(shape, load(), device(), 0, 2.0)["decode"]
        < seconds_of(shape, load(), device(), 0)["decode"]
    )


def test_an_unknown_speed_gives_no_seconds(shape: Shape, load: Callable, device: Callable) -> None:
    assert seconds_of(shape, load(), device(flops=0.0), 0) == {}


def test_communication_counts_where_it_is_longer_than_the_computation(
    shape: Shape, load: Callable, device: Callable
) -> None:
    slow = replace(shape, weights=300 * 10**9, trained=150 * 10**9)
    fast = device(flops=1e30)
    alone = seconds_of(slow, load(sampled_here=False), fast, 0)
    assert alone["communication"] == 0.0
    # two gathers in 2 bytes and one sum in 4: 1800 GB, three quarters of them from others
    within = seconds_of(slow, load(sampled_here=False, shards=4), fast, 0)
    assert within["communication"] == pytest.approx(1800 * 0.75 / 300)
    hybrid = seconds_of(slow, load(sampled_here=False, shards=4, nodes=2), fast, 0)
    # and a quarter of 600 GB there and back, half of it from the other node
    assert hybrid["communication"] == pytest.approx(1800 * 0.75 / 300 + 2 * 150 * 0.5 / 50)
    between = seconds_of(
        slow, load(sampled_here=False, shards=4, nodes=2, across_nodes=True), fast, 0
    )
    assert between["communication"] == pytest.approx(1800 * 0.75 / 50)


def test_an_engine_generates_in_turns_and_reads_the_weights_in_each(
    shape: Shape, load: Callable, device: Callable
) -> None:
    heavy = replace(shape, weights=10**9)
    at_once, in_turns = (
        seconds_of(heavy, load(sampled_here=False, concurrency=most), device(), 0)["decode"]
        for most in (12, 5)
    )
    assert in_turns == pytest.approx(3 * at_once, rel=1e-3)
