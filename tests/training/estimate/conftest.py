"""A model of round numbers, a step of it, and a machine."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from g2rpo.policy.flops import Cost
from g2rpo.training.estimate.machine import Machine
from g2rpo.training.estimate.shape import Shape
from g2rpo.training.estimate.workload import Lengths, Workload

SHAPE = Shape(
    layers=2,
    hidden=10,
    inner=30,
    routed=0,
    heads=2,
    queries=12,
    keys=6,
    words=100,
    qk_norm=True,
    tied=False,
    depth=3,
    width=8,
    patch_inner=16,
    gated=False,
    merge=2,
    mergers=1,
    patch_values=48,
    patch_px=4,
    weights=5000,
    adapter=0,
    trained=4000,
    vision_trained=True,
    vision=700,
    number=2,
    compute=2,
    layer=1000,
    cost=Cost(token=1000.0, pair=10.0, patch=100.0, patch_pair=1.0, head=2000.0),
)
LOAD = Workload(
    prompts=4,
    group_size=3,
    completion=5,
    lengths=Lengths(longest=20, mean=10.0, most_patches=16, mean_patches=8.0, origin="as given"),
    updates=1,
    micro_batch_prompts=4,
    row_completions=3,
    shared=True,
    checkpointing=False,
    reference=False,
    extra_passes=0,
    redraws=False,
    sampled_here=True,
    engine_frac=0.0,
    engine_stays=False,
)
MACHINE = Machine(
    name="a machine",
    memory=10**6,
    baseline=0,
    flops=1e6,
    bandwidth=1e5,
    layer_s=0.0,
    piece=64,
    copies=True,
)


@pytest.fixture
def shape() -> Shape:
    return SHAPE


@pytest.fixture
def load() -> Callable[..., Workload]:
    """`load(prompts=8)`: the step, with some things changed."""
    return lambda **changes: replace(LOAD, **changes)


@pytest.fixture
def device() -> Callable[..., Machine]:
    """Likewise."""
    return lambda **changes: replace(MACHINE, **changes)
