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
