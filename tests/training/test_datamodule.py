"""The stream of prompts: every prompt of a finite task once an epoch, and no draw lost at a
resume.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import IdEncoder, Shelf

from g2rpo import ranks
from g2rpo.data.curriculum import PassRate
from g2rpo.data.loading import Loading
from g2rpo.data.mixture import TaskMix
from g2rpo.data.mt_grpo import MTGRPO
from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import Skips
from g2rpo.data.stream import EveryPrompt, PromptStream
from g2rpo.interfaces import PromptSource
from g2rpo.records import Prompt, PromptBatch
from g2rpo.training.datamodule import PromptDataModule


def stream(source: PromptSource, seed: int = 0, **weights: float) -> PromptStream:
    return PromptStream(source=source, mix=TaskMix(weights=weights), seed=seed)


def ids(prompts: list[Prompt] | tuple[Prompt, ...]) -> list[str]:
    return [prompt.id.removeprefix("train/") for prompt in prompts]


def module(
    source: PromptSource, num_prompts: int = 3, num_steps: int = 4, **weights: float
) -> PromptDataModule:
    return PromptDataModule(
        stream=stream(source, **weights),
        encoder=IdEncoder(),
        num_prompts=num_prompts,
        num_steps=num_steps,
    )


def test_a_loader_serves_one_batch_a_step_and_fetches_none_ahead() -> None:
    data = module(Shelf(math=None), math=1.0)
    loader = data.train_dataloader()
    batches = iter(loader)
    assert ids(next(batches).prompts) == ["math/0", "math/1", "math/2"]
    assert data.state_dict()["stream"]["counts"] == {"math": 3}
    assert ids(data.draw().prompts) == [
        "math/3",
        "math/4",
        "math/5",
    ]  # the filter asks for more within the step
    assert ids(next(batches).prompts) == ["math/6", "math/7", "math/8"]
    assert len(loader) == 4


def test_a_restored_stream_goes_on_behind_the_last_draw_of_its_checkpoint() -> None:
    unbroken, killed, resumed = (
        module(Shelf(math=4, document=None), math=1.0, document=1.0) for _ in range(3)
    )
    expected = [ids(unbroken.draw().prompts) for _ in range(5)]
    for _ in range(2):
        killed.draw()
    saved = killed.state_dict()
    killed.draw()  # after the checkpoint: lost with the run
    resumed.load_state_dict(saved)
    assert [ids(resumed.draw().prompts) for _ in range(3)] == expected[2:]


def test_a_batch_that_was_put_back_comes_again_also_in_a_resumed_run() -> None:
    data, resumed = (module(Shelf(math=None), math=1.0) for _ in range(2))
    data.draw()
    again = ids(data.draw().prompts)
    data.put_back()
    resumed.load_state_dict(data.state_dict())
    for one in (data, resumed):
        assert ids(one.draw().prompts) == again == ["math/3", "math/4", "math/5"]
        assert ids(one.draw().prompts) == ["math/6", "math/7", "math/8"]


@pytest.mark.parametrize("before", [None, PassRate()])
def test_another_curriculum_than_that_of_the_checkpoint_is_refused(before: Any) -> None:
    saved = module(Shelf(math=4), math=1.0)
    saved.stream.curriculum = before or EveryPrompt()
    state = saved.state_dict()
    resumed = module(Shelf(math=4), math=1.0)
    resumed.load_state_dict(state)  # it can be switched off
    resumed.stream = PromptStream(
        source=Shelf(math=4), mix=TaskMix(weights={"math": 1.0}), seed=0, curriculum=MTGRPO()
    )
    with pytest.raises(
        ValueError, match=r"resume: expected the curriculum of .*, got MTGRPO, .*accuracy, adam"
    ):
        resumed.load_state_dict(state)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 4), r"batch\.prompts_per_step: .* got 0"),
        ((3, 0), r"trainer\.max_steps: expected at least 1"),
    ],
)
def test_a_run_without_prompts_or_steps_is_refused(sizes: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(Shelf(math=None), *sizes, math=1.0)


class Torn(Shelf):
    """A shelf on which some prompts have an image that is missing; the others have none."""

    def __init__(
        self, broken: set[str], on_error: str, most: int | None = None, **sizes: int | None
    ) -> None:
        super().__init__(**sizes)
        self.broken = broken
        self.skips = Skips(on_error=on_error)
        self.loading = Loading(workers=0, max_prompt_tokens=most)

    def get(self, task: str, index: int, split: str) -> Prompt:
        prompt = super().get(task, index, split)
        return (
            replace(prompt, images=("gone.png",))
            if prompt.id.removeprefix("train/") in self.broken
            else prompt
        )


class Lengths(IdEncoder):
    """Some prompts have three tokens, all others one; one text it refuses."""

    long: frozenset[str] = frozenset()
    refused = ""

    def encode(self, prompts: list[Prompt]) -> PromptBatch:
        if self.refused in ids(prompts):
            raise ValueError("this text cannot be read")
        batch = super().encode(prompts)
        mask = torch.tensor(
            [
                [1, 1, 1] if prompt.id.removeprefix("train/") in self.long else [0, 0, 1]
                for prompt in prompts
            ]
        )
        return replace(batch, input_ids=torch.zeros_like(mask), attention_mask=mask)


def test_prompts_that_cannot_be_used_are_replaced_by_the_next_of_their_task_and_counted() -> None:
    data = module(
        Torn({"math/1", "math/2", "chart/0"}, "skip", math=None, chart=None),
        num_prompts=4,
        math=1.0,
        chart=1.0,
    )
    assert ids(data.draw().prompts) == ["math/0", "chart/2", "math/3", "chart/1"]
    assert ids(data.draw().prompts) == ["math/4", "chart/3", "math/5", "chart/4"]
    assert data.skips.summary() == {
        "unusable": {"chart": 1, "math": 2},
        "too_long": {},
        "records": [
            "prompt 'train/chart/0': image gone.png: No such file or directory",
            "prompt 'train/math/1': image gone.png: No such file or directory",
            "prompt 'train/math/2': image gone.png: No such file or directory",
        ],
    }


def test_the_first_broken_record_stops_a_run_that_does_not_skip() -> None:
    data = module(Torn({"math/1"}, "raise", math=None), math=1.0)
    with pytest.raises(
        BadRecord,
        match=r"prompt 'train/math/1': image gone\.png: No such file .* or set data\.on_error=skip",
    ):
        data.draw()


def test_a_prompt_that_is_too_long_is_left_out_whole_and_is_no_error() -> None:
    data = module(Torn(set(), "raise", most=2, math=None), math=1.0)
    data.encoder = Lengths()
    data.encoder.long = frozenset({"math/0", "math/2"})
    assert ids(data.draw().prompts) == ["math/3", "math/1", "math/4"]
    assert data.skips.summary()["too_long"] == {"math": 2}
    assert (
        data.skips.records[0]
        == "prompt 'train/math/0': 3 tokens are more than data.loading.max_prompt_tokens=2"
    )


def test_a_prompt_that_the_encoder_refuses_is_found_among_the_others() -> None:
    data = module(Torn(set(), "skip", math=None), math=1.0)
    data.encoder = Lengths()
    data.encoder.refused = "math/1"
    assert ids(data.draw().prompts) == ["math/0", "math/3", "math/2"]
    assert data.skips.records == ["prompt 'train/math/1': this text cannot be read"]


def test_a_source_in_which_nothing_can_be_used_ends_the_run() -> None:
    data = module(Torn({f"math/{n}" for n in range(999)}, "skip", math=None), math=1.0)
    with pytest.raises(
        ValueError,
        match=(
            r"data: expected usable prompts, .* check data\.root\. Last problem: .*No such file"
        ),
    ):
        data.draw()


def test_what_was_left_out_is_remembered_across_a_resume() -> None:
    unbroken, killed, resumed = (
        module(Torn({"math/1", "math/4"}, "skip", math=None), math=1.0) for _ in range(3)
    )
    batches = [ids(unbroken.draw().prompts) for _ in range(3)]
    killed.draw()
    resumed.load_state_dict(killed.state_dict())
    assert [ids(resumed.draw().prompts) for _ in range(2)] == batches[1:]
    assert resumed.skips.summary() == unbroken.skips.summary()
    assert resumed.skips.summary()["unusable"] == {"math": 2}


def test_processes_that_see_other_prompts_are_stopped_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = module(Shelf(math=4), math=1.0)
    monkeypatch.setattr(ranks, "all_gather_list", lambda items: [*items, {"math": 3}])
    with pytest.raises(
        ValueError,
        match=r"the same training prompts in every process, got \{'math': 4\} / \{'math': 3\}",
    ):
        data.train_dataloader()
