"""The order of prompts: every prompt of a finite task once an epoch, tasks in their share, and no
draw lost at a resume.
"""

import pytest
from fakes import Shelf
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data.curriculum import PassRate
from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import PromptSource
from g2rpo.records import Prompt


def stream(source: PromptSource, seed: int = 0, **weights: float) -> PromptStream:
    return PromptStream(source=source, mix=TaskMix(weights=weights), seed=seed)


def ids(prompts: list[Prompt]) -> list[str]:
    return [prompt.id.removeprefix("train/") for prompt in prompts]


def test_each_epoch_of_a_finite_task_serves_every_prompt_once_in_a_new_order() -> None:
    drawn = ids(stream(Shelf(math=7), math=1.0).draw(21))
    epochs = [drawn[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == [f"math/{i}" for i in range(7)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_is_another_for_another_seed_and_another_task() -> None:
    def order(task: str, seed: int) -> list[str]:
        return [
            name.partition("/")[2]
            for name in ids(stream(Shelf(math=20, chart=20), seed, **{task: 1.0}).draw(20))
        ]

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
    with pytest.raises(
        ValueError,
        match=r"task_mix: .* no training prompt for 'chart'; set task_mix\.weights\.chart=0",
    ):
        stream(Shelf(math=5), math=1.0, chart=1.0)
    assert ids(stream(Shelf(math=1), math=1.0, chart=0.0).draw(1)) == ["math/0"]


def test_peeking_shows_what_comes_and_moves_nothing() -> None:
    draws = stream(Shelf(math=3, chart=None), math=2.0, chart=1.0)
    draws.draw(5)
    seen = ids(draws.peek(9))
    assert draws.state_dict()["counts"] == {"math": 3, "chart": 2}
    assert ids(draws.draw(9)) == seen


def test_a_replacement_is_the_next_of_its_task_and_takes_no_turn_from_another() -> None:
    plain, mended = (stream(Shelf(math=None, chart=None), math=1.0, chart=1.0) for _ in range(2))
    first = ids(plain.draw(4))
    assert ids(mended.draw(2)) == first[:2]
    assert mended.next_of("math").id == "train/math/1"
    # the mixture goes on as if nothing had happened, the task behind the prompt that was used up
    assert ids(mended.draw(2)) == ["math/2", "chart/1"]


def test_a_source_that_never_ends_has_no_size_to_go_by_and_no_prompt_to_come_back_to() -> None:
    with pytest.raises(
        ValueError, match=r"task_mix\.by_size: chart never run out .* task_mix\.by_size=false"
    ):
        PromptStream(
            source=Shelf(math=3, chart=None),
            mix=TaskMix(weights={"math": 1.0, "chart": 1.0}, by_size=True),
            seed=0,
        )
    with pytest.raises(ValueError, match=r"curriculum: .* never runs out, .* curriculum=none"):
        PromptStream(
            source=Shelf(math=None),
            mix=TaskMix(weights={"math": 1.0}),
            seed=0,
            curriculum=PassRate(),
        )


def test_a_mixture_by_size_serves_every_prompt_of_every_task_in_one_epoch() -> None:
    mix = TaskMix(weights={"math": 1.0, "chart": 1.0, "document": 1.0}, by_size=True)
    drawn = ids(PromptStream(source=Shelf(math=12, chart=3, document=5), mix=mix, seed=0).draw(20))
    assert len(set(drawn)) == 20


def curriculum_stream(size: int = 6) -> PromptStream:
    return PromptStream(
        source=Shelf(math=size), mix=TaskMix(weights={"math": 1.0}), seed=0, curriculum=PassRate()
    )


def test_prompts_that_taught_nothing_rest_and_the_others_come_again() -> None:
    draws = curriculum_stream()
    first = draws.draw(6)
    draws.observe(
        {
            prompt.id: accuracy
            for prompt, accuracy in zip(first, [0.0, 0.5, 1.0, 0.25, 1.0, 0.0], strict=True)
        }
    )
    again = [prompt.id for prompt in draws.draw(2)]
    assert sorted(again) == sorted([first[1].id, first[3].id])


def test_where_every_prompt_rests_one_is_served_all_the_same() -> None:
    draws = curriculum_stream(3)
    draws.observe({prompt.id: 1.0 for prompt in draws.draw(3)})
    assert len(draws.draw(2)) == 2


@settings(max_examples=30, deadline=None)
@given(
    accuracies=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=40, max_size=40),
    cut=st.integers(1, 9),
)
def test_a_resumed_curriculum_serves_what_the_unbroken_one_does(
    accuracies: list[float], cut: int
) -> None:
    def steps(draws: PromptStream, numbers: range) -> list[list[str]]:
        served = []
        for number in numbers:
            prompts = draws.draw(4)
            draws.observe(
                {prompt.id: accuracies[4 * number + i] for i, prompt in enumerate(prompts)}
            )
            served.append(ids(prompts))
        return served

    unbroken = steps(curriculum_stream(), range(10))
    killed, resumed = curriculum_stream(), curriculum_stream()
    steps(killed, range(cut))
    resumed.load_state_dict(killed.state_dict())
    assert steps(resumed, range(cut, 10)) == unbroken[cut:]


def test_prompts_of_a_later_draw_stay_in_flight_when_an_earlier_one_is_observed() -> None:
    draws = curriculum_stream()
    first, second = draws.draw(2), draws.draw(2)
    draws.observe({prompt.id: 1.0 for prompt in first})
    turns = [draws.turn_of(prompt) for prompt in second]
    resumed = curriculum_stream()
    resumed.load_state_dict(draws.state_dict())
    assert ids([resumed.again(turn) for turn in turns]) == ids(second)
    for stream in (draws, resumed):
        stream.observe({prompt.id: 0.0 for prompt in second})
    assert resumed.state_dict() == draws.state_dict()
    assert ids(resumed.draw(4)) == ids(draws.draw(4))


def test_a_prompt_that_could_not_be_used_is_not_observed() -> None:
    draws = curriculum_stream()
    unusable, other = draws.draw(2)
    draws.forget(unusable)
    before = draws.state_dict()["curriculum"]
    draws.observe({unusable.id: 1.0})
    assert draws.state_dict()["curriculum"] == before
    draws.observe({other.id: 1.0})
    assert draws.state_dict()["curriculum"] != before
