"""Records: what they refuse, and what stays itself when they move."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from g2rpo.records import Prompt, PromptBatch, Sampling


def _prompt(**changes: object) -> Prompt:
    given = {
        "id": "gym/train/chart/17",
        "task": "chart",
        "text": "How high?",
        "images": (),
        "answer": "7",
        "answer_type": "numerical",
    }
    return Prompt(**(given | changes))


def _batch() -> PromptBatch:
    return PromptBatch(
        prompts=(_prompt(id="a"), _prompt(id="b", images=("two.png", "one.png"))),
        input_ids=torch.tensor([[0, 5, 6], [7, 8, 9]]),
        attention_mask=torch.tensor([[0, 1, 1], [1, 1, 1]]),
        num_images=torch.tensor([0, 2]),
        position=torch.tensor([0, 1]),
        images=(
            {"pixels": torch.arange(6.0).reshape(3, 2), "grid": torch.tensor([[1, 1, 3]])},
            {"pixels": torch.arange(6.0, 8.0).reshape(1, 2), "grid": torch.tensor([[1, 1, 1]])},
        ),
    )


def test_positions_of_tasks_are_those_in_the_list_of_the_run() -> None:
    tasks = ("gui", "chart", "medical")
    batch = replace(_batch(), prompts=(_prompt(task="medical"), _prompt(task="gui")))
    assert batch.task_positions(tasks).tolist() == [2, 0]
    with pytest.raises(KeyError, match="chart"):
        _batch().task_positions(["gui", "medical"])


def test_a_prompt_never_changes_and_takes_no_positional_arguments() -> None:
    prompt = _prompt()
    with pytest.raises(FrozenInstanceError):
        prompt.answer = "8"  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        Prompt("gym/train/chart/17", "chart", "How high?", (), "7", "numerical")  # type: ignore[misc]


def test_two_prompts_do_not_share_their_default_meta() -> None:
    first, second = _prompt(), _prompt()
    assert first.meta == {}
    assert first.meta is not second.meta


def test_a_prompt_is_an_image_prompt_of_no_named_source_by_default() -> None:
    assert (_prompt().media, _prompt().source) == ("image", "")


def test_moving_a_batch_moves_every_tensor_and_keeps_the_prompts() -> None:
    batch = _batch()
    moved = batch.to("meta")
    tensors = (
        "input_ids",
        "attention_mask",
        "num_images",
    )
    assert {name: getattr(moved, name).device.type for name in tensors} == dict.fromkeys(
        tensors, "meta"
    )
    assert [value.device.type for image in moved.images for value in image.values()] == ["meta"] * 4
    assert moved.prompts is batch.prompts
    assert batch.input_ids.device.type == "cpu"


def test_moving_to_where_it_is_changes_no_value() -> None:
    batch = _batch()
    moved = batch.to("cpu")
    assert moved.input_ids.tolist() == [[0, 5, 6], [7, 8, 9]]
    assert moved.image_inputs()["grid"].tolist() == [[1, 1, 3], [1, 1, 1]]
    assert moved.image_inputs()["pixels"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_batch_without_images_can_be_moved() -> None:
    moved = replace(_batch(), images=()).to("cpu")
    assert moved.images == ()
    assert moved.image_inputs() == {}


def test_sampling_defaults_to_the_policy_as_it_is() -> None:
    sampling = Sampling(group_size=8, max_new_tokens=48)
    assert (sampling.temperature, sampling.top_p) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"group_size": 0}, "group_size: expected at least 1 completion per prompt, got 0"),
        ({"max_new_tokens": 0}, "rollout.max_new_tokens: expected at least 1 token, got 0"),
        ({"temperature": -0.1}, "rollout.temperature: expected 0 (greedy) or more, got -0.1"),
        ({"top_p": 0.0}, "rollout.top_p: expected a share in (0, 1], got 0.0"),
        ({"top_p": 1.01}, "rollout.top_p: expected a share in (0, 1], got 1.01"),
    ],
)
def test_sampling_names_the_key_the_range_and_the_value(
    wrong: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Sampling(**({"group_size": 8, "max_new_tokens": 48} | wrong))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "edge",
    [
        {"group_size": 1},
        {"max_new_tokens": 1},
        {"temperature": 0.0},
        {"top_p": 1.0},
        {"top_p": 1e-6},
    ],
)
def test_sampling_accepts_the_edges_of_its_ranges(edge: dict[str, float]) -> None:
    (name, value), *_ = edge.items()
    assert getattr(Sampling(**({"group_size": 8, "max_new_tokens": 48} | edge)), name) == value
