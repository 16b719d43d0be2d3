"""Prompts in the words of the benchmarks: what is right, and that no demo row is among them."""

from collections import Counter
from typing import Any

import pytest
from PIL import Image

from g2rpo.benchmark.demo import wrong_answers
from g2rpo.benchmark.evaluation.by_name import benchmark_names, benchmark_settings
from g2rpo.benchmark.evaluation.suite import built
from g2rpo.benchmark.rows.demo import DemoRows
from g2rpo.benchmark.worded import WordedPrompts
from g2rpo.data.gym.source import TASKS, GymSource
from g2rpo.records import Prompt

LEVELS = (0, 1, 1, 2)
BENCHMARKS = {name: built(benchmark_settings(name), name) for name in benchmark_names()}


def drawn(source: Any, count: int) -> list[Prompt]:
    return [source.get(task, index, "train") for task in TASKS for index in range(count)]


def looks(image: Image.Image) -> bytes:
    return image.tobytes()


def test_every_benchmark_asks_its_share_of_its_own_task() -> None:
    prompts = drawn(WordedPrompts(prompts=GymSource(levels=LEVELS)), 90)
    asked = Counter((prompt.task, prompt.source) for prompt in prompts)
    assert {name for _, name in asked} == set(BENCHMARKS)
    assert all(BENCHMARKS[name].task == task for task, name in asked)
    # 90 prompts of a task among three benchmarks: 30 each, six standard deviations are 27
    assert min(asked.values()) > 10
    assert len({prompt.id for prompt in prompts}) > 0.95 * len(prompts)


def test_a_share_keeps_the_words_of_the_gym() -> None:
    gym = GymSource(levels=LEVELS)
    assert drawn(WordedPrompts(prompts=gym, share=0.0), 5) == drawn(gym, 5)
    half = drawn(WordedPrompts(prompts=gym, share=0.5), 60)
    own = sum(prompt.source == "gym" for prompt in half)
    assert own / len(half) == pytest.approx(0.5, abs=0.13)  # five standard errors
    with pytest.raises(ValueError, match=r"data\.share: expected a share in \[0, 1\], got 1\.5"):
        WordedPrompts(prompts=gym, share=1.5)


def test_no_demo_row_is_trained_on() -> None:
    rows = DemoRows(prompts=GymSource(), rows_per_benchmark=48)
    asked = [
        (place, benchmark.prompt(benchmark.row(record)))
        for benchmark in BENCHMARKS.values()
        for place, record in rows.records(benchmark)
    ]
    trained = drawn(WordedPrompts(prompts=GymSource(levels=LEVELS)), 300)
    assert len(asked) >= 18 * 48
    assert len(trained) == 1800
    assert all(place.startswith("gym/heldout/") for place, _ in asked)
    assert all("gym/train/" in prompt.id for prompt in trained)
    questions = {(prompt.text, looks(prompt.images[0])) for _, prompt in asked}
    assert questions.isdisjoint((prompt.text, looks(prompt.images[0])) for prompt in trained)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_the_right_answer_is_right_in_the_benchmarks_format_and_wrong_ones_are_wrong(
    name: str,
) -> None:
    benchmark = BENCHMARKS[name]
    gym, protocol = GymSource(levels=LEVELS), "robust" if name == "charxiv_rq" else "paper"
    scores = []
    for index in range(25):
        prompt = gym.get(benchmark.demo_task, index, "train")
        for record in benchmark.demo(prompt, index, wrong_answers(prompt)):
            row = benchmark.row(record)
            right = benchmark.said(row, prompt.answer)
            said = f"<thinking>look.</thinking><answer>{right}</answer>"
            whole = protocol in benchmark.reads_thinking
            assert benchmark.score(said if whole else right, row, protocol=protocol) == 1.0
            for answer in wrong_answers(prompt):
                other = benchmark.said(row, answer)
                if other != right:
                    scores.append(benchmark.score(other, row, protocol=protocol))
    assert len(scores) > 10
    # a box elsewhere may overlap by chance, and ANLS credits a text that is half right
    assert sum(scores) / len(scores) < 0.5


def test_a_prompt_says_what_is_right_and_what_is_wrong() -> None:
    source = WordedPrompts(
        prompts=GymSource(levels=LEVELS), benchmarks=["embspatial", "robospatial"]
    )
    prompts = [source.get("spatial", index, "train") for index in range(40)]
    for prompt in prompts:
        assert prompt.meta["says"] not in prompt.meta["wrong"]
        assert prompt.meta["wrong"]
        if prompt.source == "embspatial":
            assert prompt.meta["options"][prompt.answer] in ("left", "right", "above", "below")
            assert prompt.meta["says"] == prompt.answer
    assert source.get("math", 3, "train") == GymSource(levels=LEVELS).get("math", 3, "train")
    assert prompts[7] == source.get("spatial", 7, "train")
