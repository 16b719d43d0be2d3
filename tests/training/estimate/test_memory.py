"""Rows of a model whose numbers can be added up by hand."""

from collections.abc import Callable
from dataclasses import replace

from g2rpo.training.estimate.memory import Part, parts_of, totals
from g2rpo.training.estimate.shape import Shape

Rows = Callable[..., dict[str, tuple[int, int, int]]]


def rows(parts: list[Part]) -> dict[str, tuple[int, int, int]]:
    return {part.name: (part.rollout, part.backward, part.optimizer) for part in parts}


def test_what_is_always_there_counts_in_every_phase(
    shape: Shape, load: Callable, device: Callable
) -> None:
    found = rows(
        parts_of(shape, load(reference=True), device(baseline=7), state=16_000, copies=8000)
    )
    assert found["process before the model"] == (7, 7, 7)
    assert found["weights"] == found["reference policy"] == (10_000, 10_000, 10_000)
    assert found["optimizer state"] == (16_000, 16_000, 16_000)
    assert found["optimizer's copies"] == (0, 0, 8000)


def test_gradients_of_several_micro_batches_are_there_during_a_backward_pass(
    shape: Shape, load: Callable, device: Callable
) -> None:
    # of one micro-batch, only the head's gradient (100 words x 10 numbers of 2 bytes) meets all
    # that the layers keep
    assert rows(parts_of(shape, load(), device(), 0, 0))["gradients"] == (0, 2000, 8000)
    assert rows(parts_of(shape, load(micro_batch_prompts=2), device(), 0, 0))["gradients"] == (
        0,
        10_000,
        8000,
    )
    assert rows(parts_of(shape, load(checkpointing=True), device(), 0, 0))["gradients"] == (
        0,
        8000,
        8000,
    )


def test_gradients_of_all_tasks_but_one_wait_during_a_backward_pass(
    shape: Shape, load: Callable, device: Callable
) -> None:
    found = rows(parts_of(shape, load(task_gradients=6), device(), 0, 0))
    assert found["gradients of other tasks"] == (0, 5 * 8000, 0)
    assert "gradients of other tasks" not in rows(parts_of(shape, load(), device(), 0, 0))


def test_a_copy_of_the_weights_is_made_where_optimizers_work_on_all_at_once(
    shape: Shape, load: Callable, device: Callable
) -> None:
    assert "optimizer's copies" not in rows(parts_of(shape, load(), device(copies=False), 0, 8000))


def test_pixels_are_float32_and_those_of_two_draws_where_groups_are_filtered(
    shape: Shape, load: Callable, device: Callable
) -> None:
    assert rows(parts_of(shape, load(), device(), 0, 0))["pixels"] == (4 * 16 * 48 * 4,) * 3
    assert (
        rows(parts_of(shape, load(redraws=True), device(), 0, 0))["pixels"][0]
        == 2 * 4 * 16 * 48 * 4
    )


def test_keys_and_values_are_those_of_prompts_once_and_of_completions_in_their_room(
    shape: Shape, load: Callable, device: Callable
) -> None:
    # 4 prompts of 20 tokens, 12 rows with room for 32; 6 keys and values in 2 layers; scores of 2
    # heads in float32 and bfloat16
    assert rows(parts_of(shape, load(), device(), 0, 0))["keys and values"] == (
        (4 * 20 + 12 * 32) * 48 + 12 * 2 * 20 * 6,
        0,
        0,
    )
    assert (
        rows(parts_of(shape, load(completion=65), device(), 0, 0))["keys and values"][0]
        == (4 * 20 + 12 * 128) * 48 + 12 * 2 * 20 * 6
    )
    assert rows(parts_of(shape, load(), device(), 0, 0))["sampling"] == (12 * 100 * 4 * 5, 0, 0)


def test_an_engine_of_its_own_holds_no_cache_here_but_its_share_of_the_device(
    shape: Shape, load: Callable, device: Callable
) -> None:
    elsewhere = rows(parts_of(shape, load(sampled_here=False), device(), 0, 0))
    assert not {"keys and values", "prefill", "sampling", "engine"} & set(elsewhere)
    sleeps = rows(parts_of(shape, load(sampled_here=False, engine_frac=0.4), device(), 0, 0))
    stays = rows(
        parts_of(
            shape, load(sampled_here=False, engine_frac=0.4, engine_stays=True), device(), 0, 0
        )
    )
    assert (sleeps["engine"], stays["engine"]) == ((400_000, 0, 0), (400_000, 400_000, 400_000))


def test_layers_keep_less_of_smaller_passes_and_with_checkpointing(
    shape: Shape, load: Callable, device: Callable
) -> None:
    whole, half, again = (
        rows(parts_of(shape, load(**changes), device(), 0, 0))["activations"][1]
        for changes in ({}, {"micro_batch_prompts": 2}, {"checkpointing": True})
    )
    assert half == whole / 2
    assert again < whole


def test_totals_add_up_each_phase(shape: Shape, load: Callable, device: Callable) -> None:
    parts = [
        Part(name="a", rollout=1, backward=20),
        Part(name="b", rollout=3, optimizer=5),
    ]
    assert totals(parts) == {"rollout": 4, "backward": 20, "optimizer": 5}


def test_sharding_spreads_what_is_kept_and_gathers_two_layers_at_a_time(
    shape: Shape, load: Callable, device: Callable
) -> None:
    # 5000 float32 weights, 4000 of them trained, 2 layers of 1000; computed in 2 bytes
    mixed = replace(shape, number=4, compute=2)
    found = rows(
        parts_of(mixed, load(reference=True, shards=4), device(), state=32_000, copies=16_000)
    )
    assert found["weights"] == found["reference policy"] == (5000, 5000, 5000)
    assert found["optimizer state"] == (8000, 8000, 8000)
    assert found["gradients"] == (0, 4000, 4000)
    assert found["optimizer's copies"] == (0, 0, 4000)
    # 3000 outside of the layers and 2 layers; gradients of a layer twice, and of the rest
    gathered = (3000 + 2 * 1000) * 2
    assert found["gathered weights"] == (
        gathered,
        gathered + 1000 * (2 + 4) + 3000 * 2,
        0,
    )


def test_an_adapter_is_whole_in_every_process(
    shape: Shape, load: Callable, device: Callable
) -> None:
    adapted = replace(shape, adapter=400, trained=0)
    found = rows(parts_of(adapted, load(shards=4, sampled_here=False), device(), 800, 0))
    assert found["weights"] == (10_000 // 4 + 400,) * 3
    assert found["optimizer state"] == (800, 800, 800)
    assert found["gradients"][2] == 400
    assert found["gathered weights"] == (0, (3000 + 2 * 1000) * 2, 0)


def test_casts_of_float32_weights_stay_until_the_backward_pass_unless_layers_are_recomputed(
    shape: Shape, load: Callable, device: Callable
) -> None:
    mixed = replace(shape, number=4, compute=2)
    assert rows(parts_of(mixed, load(), device(), 0, 0))["weights in the compute dtype"] == (
        10_000,
        10_000,
        0,
    )
    again = rows(parts_of(mixed, load(checkpointing=True), device(), 0, 0))
    assert again["weights in the compute dtype"] == (10_000, 2000, 0)
    assert "weights in the compute dtype" not in rows(parts_of(shape, load(), device(), 0, 0))
    # what layers keep is in the compute dtype
    whole = rows(parts_of(shape, load(), device(), 0, 0))["activations"]
    assert rows(parts_of(mixed, load(), device(), 0, 0))["activations"] == whole
