"""The stream of prompts: every prompt of a finite task once an epoch, and no draw lost at a resume."""

from typing import Any

import pytest
import torch

from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import PromptSource
from g2rpo.records import Prompt, PromptBatch, task_index
from g2rpo.training.datamodule import PromptDataModule


class Shelf:
    """So many prompts of each task; None is endless."""

    def __init__(self, **sizes: int | None) -> None:
        self.sizes = sizes

    def size(self, task: str, split: str) -> int | None:
        return self.sizes.get(task, 0)

    def get(self, task: str, index: int, split: str) -> Prompt:
        return Prompt(id=f"{split}/{task}/{index}", task=task, text="?", images=(), answer="1", answer_type="numerical")


class IdEncoder:
    """Reads nothing: a batch is its prompts."""

    eos_token_id, pad_token_id, forbidden_token_ids = 1, 0, ()

    def fit(self, image: Any) -> Any:
        return image

    def tokenize(self, completion: str) -> list[int]:
        return [self.eos_token_id]

    def decode(self, completion_ids: torch.Tensor, completion_mask: torch.Tensor) -> tuple[str, ...]:
        return ("",) * len(completion_ids)

    def encode(self, prompts: list[Prompt]) -> PromptBatch:
        ids = torch.zeros(len(prompts), 1, dtype=torch.long)
        return PromptBatch(
            prompts=tuple(prompts), task=torch.tensor([task_index(p.task) for p in prompts]), input_ids=ids,
            attention_mask=ids + 1, pixel_values=None, image_grid_thw=None, num_images=torch.zeros(len(prompts), dtype=torch.long),
        )  # fmt: skip


def stream(source: PromptSource, seed: int = 0, **weights: float) -> PromptStream:
    return PromptStream(source=source, mix=TaskMix(weights=weights), seed=seed)


def ids(prompts: list[Prompt] | tuple[Prompt, ...]) -> list[str]:
    return [prompt.id.removeprefix("train/") for prompt in prompts]


def module(source: PromptSource, num_prompts: int = 3, num_steps: int = 4, **weights: float) -> PromptDataModule:
    return PromptDataModule(stream=stream(source, **weights), encoder=IdEncoder(), num_prompts=num_prompts, num_steps=num_steps)


def test_each_epoch_of_a_finite_task_serves_every_prompt_once_in_a_new_order() -> None:
    drawn = ids(stream(Shelf(math=7), math=1.0).draw(21))
    epochs = [drawn[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == [f"math/{i}" for i in range(7)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_another_for_another_seed_and_another_task() -> None:
    def order(task: str, seed: int) -> list[str]:
        return [name.partition("/")[2] for name in ids(stream(Shelf(math=20, chart=20), seed, **{task: 1.0}).draw(20))]

    assert order("math", 0) == order("math", 0)
    assert order("math", 0) != order("math", 1)
    assert order("math", 0) != order("chart", 0)


def test_an_endless_task_is_served_by_number_beside_a_finite_one() -> None:
    drawn = ids(stream(Shelf(math=2, chart=None), math=1.0, chart=2.0).draw(9))
    # chart has two turns of three, and counts on; math starts over after two
    assert [name for name in drawn if name.startswith("chart")] == [f"chart/{i}" for i in range(6)]
    turns = [name for name in drawn if name.startswith("math")]
    assert sorted(turns[:2]) == ["math/0", "math/1"]
    assert turns[2] in turns[:2]


def test_how_draws_are_cut_into_batches_does_not_change_them() -> None:
    whole, cut = (stream(Shelf(math=5, chart=None), math=3.0, chart=1.0) for _ in range(2))
    pieces = [prompt for size in (1, 6, 2, 8) for prompt in cut.draw(size)]
    assert ids(whole.draw(17)) == ids(pieces)


def test_a_task_without_prompts_is_refused_with_the_key_that_switches_it_off() -> None:
    with pytest.raises(ValueError, match=r"task_mix: .* no training prompt for 'chart'; set task_mix\.weights\.chart=0"):
        stream(Shelf(math=5), math=1.0, chart=1.0)
    assert ids(stream(Shelf(math=1), math=1.0, chart=0.0).draw(1)) == ["math/0"]


def test_a_loader_serves_one_batch_a_step_and_fetches_none_ahead() -> None:
    data = module(Shelf(math=None), math=1.0)
    loader = data.train_dataloader()
    batches = iter(loader)
    assert ids(next(batches).prompts) == ["math/0", "math/1", "math/2"]
    assert data.state_dict()["stream"]["counts"] == {"math": 3}
    assert ids(data.draw().prompts) == ["math/3", "math/4", "math/5"]  # the filter asks for more within the step
    assert ids(next(batches).prompts) == ["math/6", "math/7", "math/8"]
    assert len(loader) == 4


def test_a_restored_stream_goes_on_behind_the_last_draw_of_its_checkpoint() -> None:
    unbroken, killed, resumed = (module(Shelf(math=4, document=None), math=1.0, document=1.0) for _ in range(3))
    expected = [ids(unbroken.draw().prompts) for _ in range(5)]
    for _ in range(2):
        killed.draw()
    saved = killed.state_dict()
    killed.draw()  # after the checkpoint: lost with the run
    resumed.load_state_dict(saved)
    assert [ids(resumed.draw().prompts) for _ in range(3)] == expected[2:]


@pytest.mark.parametrize(
    ("sizes", "message"), [((0, 4), r"batch\.prompts: .* got 0"), ((3, 0), r"trainer\.max_steps: expected at least 1")]
)
def test_a_run_without_prompts_or_steps_is_refused(sizes: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(Shelf(math=None), *sizes, math=1.0)
