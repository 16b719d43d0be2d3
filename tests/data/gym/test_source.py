from collections import Counter

import pytest

from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.records import Prompt
from g2rpo.reward.openvlthinker import OpenVLThinkerReward

EVERY_LEVEL = (0, 1, 2, 3)
THINGS = {"math": (2, 4, 10), "spatial": (2, 2, 4), "document": (1, 1, 3)}
"""Things to tell apart, where they are not (1, 1, 4): fewest and most at level 0, most at level 3.
"""
GOLDEN = {
    "general_vqa": ("which shape is red? square circle triangle cross", "square"),
    "math": ("how many crosses are there?", "1"),
    "chart": ("what is the value of the black point?", "35"),
    "spatial": (
        "where is the purple circle from the green square? left right below above",
        "below",
    ),
    "document": ("read the text.", "32 08 91"),
    "grounding": ("give the box of the black circle.", '{"boxes": [531, 531, 750, 750]}'),
}
"""Question and answer of gym/heldout/<task>/3, written down once: the shipped checkpoint has
learned from this stream.
"""
MOSTLY = {"spatial": 0.75, "document": 0.3, "grounding": 0.9}
"""Share of believable wrong answers that are worth nothing at all, at least."""


def _prompts(
    task: str,
    count: int = 40,
    split: str = "train",
    seed: int = 0,
    levels: tuple[int, ...] = (1, 2),
) -> list[Prompt]:
    source = GymSource(seed=seed, levels=levels)
    return [source.get(task, index, split) for index in range(count)]


def _content(prompt: Prompt) -> tuple[str, str, bytes]:
    return prompt.text, prompt.answer, prompt.images[0].tobytes()


def _accuracy(prompt: Prompt, answer: str) -> float:
    return OpenVLThinkerReward().score(f"<thinking>so</thinking><answer>{answer}</answer>", prompt)[
        "accuracy"
    ]


def _things(prompt: Prompt) -> int:
    scene: str = prompt.meta["scene"]
    return len(scene.split()) if prompt.task == "math" else scene.count(".")


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_split_task_and_index_give_the_same_prompt(task: str) -> None:
    forward, source = _prompts(task, seed=5), GymSource(seed=5, levels=(1, 2))
    # another object, asked in another order
    for index in (31, 0, 17, 31):
        again = source.get(task, index, "train")
        assert (_content(again), again.id, again.meta) == (
            _content(forward[index]),
            forward[index].id,
            forward[index].meta,
        )


def test_the_stream_is_the_same_in_every_process_and_release() -> None:
    texts = {
        task: (prompt.text, prompt.answer)
        for task in TASKS
        for prompt in [GymSource(seed=0, levels=(1, 2)).get(task, 3, "heldout")]
    }
    assert texts == GOLDEN


@pytest.mark.parametrize("task", TASKS)
def test_splits_and_seeds_are_disjoint_streams(task: str) -> None:
    streams = [_prompts(task), _prompts(task, split="heldout"), _prompts(task, seed=1)]
    contents = [_content(prompt) for stream in streams for prompt in stream]
    assert max(Counter(contents).values()) == 1
    assert streams[0][4].id == f"gym/train/{task}/4"
    assert streams[1][4].id == f"gym/heldout/{task}/4"


@pytest.mark.parametrize("task", TASKS)
def test_the_gold_answer_is_right_and_the_believable_ones_are_not(task: str) -> None:
    wrong_scores = []
    for prompt in _prompts(task, 50, levels=EVERY_LEVEL):
        assert _accuracy(prompt, prompt.answer) == 1.0, prompt.id
        wrong_scores += [_accuracy(prompt, wrong) for wrong in prompt.meta["wrong"]]
        assert prompt.meta["wrong"], prompt.id
    assert max(wrong_scores) < 1.0
    # graded answers (a distance, a text, a box) are worth something when they are near; the others
    # are right or wrong
    assert sum(score == 0 for score in wrong_scores) / len(wrong_scores) >= MOSTLY.get(task, 1.0)


@pytest.mark.parametrize("task", TASKS)
def test_the_level_sets_how_many_things_there_are_to_tell_apart(task: str) -> None:
    fewest = [_things(prompt) for prompt in _prompts(task, 100, levels=(0,))]
    most = [_things(prompt) for prompt in _prompts(task, 100, levels=(3,))]
    assert (min(fewest), max(fewest), max(most)) == THINGS.get(task, (1, 1, 4))


def test_levels_take_turns_at_random() -> None:
    drawn = Counter(
        prompt.meta["level"] for task in TASKS for prompt in _prompts(task, 60, levels=(1, 3))
    )
    # 360 fair draws: five standard deviations are 47
    assert set(drawn) == {1, 3}
    assert abs(drawn[1] - 180) < 47


def test_the_gym_never_runs_out() -> None:
    assert GymSource().size("chart", "heldout") is None
    assert GymSource().get("chart", 10**9, "train").id == "gym/train/chart/1000000000"


@pytest.mark.parametrize("levels", [(), (1, 4), (-1,)])
def test_an_unknown_level_is_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"data\.levels: expected a list of difficulties out of 0, 1, 2, 3, got \["
    ):
        GymSource(levels=levels)


def test_an_unknown_task_has_no_prompts_and_an_unknown_split_is_refused() -> None:
    assert (GymSource().size("video", "train"), GymSource().size("chart", "train")) == (0, None)
    with pytest.raises(IndexError, match=r"the gym draws general_vqa, .*asked for task='video'"):
        GymSource().get("video", 0, "train")
    with pytest.raises(ValueError, match=r"the gym draws \('train', 'heldout'\), .* split='test'"):
        GymSource().get("chart", 0, "test")
