"""Each kind of change alone; together they are tested in test_advice.py."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from g2rpo.training.estimate.changes import CHANGING, HARMLESS, Setup
from g2rpo.training.estimate.shape import Shape


@pytest.fixture
def setup(shape: Shape, load: Callable, device: Callable) -> Setup:
    return Setup(
        shape=shape,
        load=load(shards=2, nodes=2),
        device=device(),
        state=16_000,
        copies=8000,
        processes=4,
    )


def test_a_change_is_another_run_and_names_a_present_value(setup: Setup) -> None:
    changes = [change for kind in HARMLESS + CHANGING for change in kind(setup, lambda key: None)]
    assert len(changes) > 8
    for override, now, changed in changes:
        assert "=" in override
        assert now
        assert changed != setup


def test_optimizers_with_less_state_are_advised_only_where_they_work(setup: Setup) -> None:
    masters = replace(setup, shape=replace(setup.shape, number=4), state=32_000)
    alone = masters.but(shards=1)

    def overrides(run: Setup, optimizer: str) -> set[str]:
        changes = [
            change for kind in HARMLESS + CHANGING for change in kind(run, lambda key: optimizer)
        ]
        return {override for override, _, _ in changes}

    kahan = "model.dtype=bfloat16 trainer.precision=32-true optimizer=adamw_kahan"
    adamw, eight = "torch.optim.AdamW", "g2rpo.training.adamw_8bit.adamw_8bit"
    assert {kahan, "optimizer=adamw_8bit", "trainer=fsdp"} <= overrides(alone, adamw)
    assert "optimizer=adamw_8bit" not in overrides(masters, adamw)
    assert kahan in overrides(masters, adamw)
    assert kahan not in overrides(setup, "optimi.AdamW")
    assert "trainer=fsdp optimizer=adamw" in overrides(alone, eight)
    assert not {"trainer=fsdp", "optimizer=adamw_8bit"} & overrides(alone, eight)


def test_weights_can_be_sharded_over_all_nodes(setup: Setup) -> None:
    changes = [change for kind in HARMLESS for change in kind(setup, lambda key: None)]
    found = [run for override, _, run in changes if "across_nodes=true" in override]
    assert [run.load.shards for run in found] == [4]
    assert found[0].peak() < setup.peak()


def test_gradients_of_the_tasks_are_added_before_weights_are_sharded(setup: Setup) -> None:
    run = setup.but(shards=1, task_gradients=6)
    changes = {
        change[0]: change[2] for kind in HARMLESS + CHANGING for change in kind(run, lambda key: "")
    }
    assert "trainer=fsdp" not in changes
    assert changes["gradient=sum"].load.task_gradients == 1
