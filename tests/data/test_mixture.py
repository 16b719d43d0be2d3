from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.data.gym.source import TASKS
from g2rpo.data.mixture import TaskMix, mixture_of
from g2rpo.data.skips import Skips
from g2rpo.data.stream import PromptStream
from g2rpo.records import Prompt

WEIGHTS = st.dictionaries(
    st.sampled_from(TASKS), st.sampled_from([0.0, 0.25, 1.0, 1.5, 3.0, 7.0]), min_size=1
).filter(lambda w: sum(w.values()) > 0)


def _drawn(mix: TaskMix, turns: int, counts: dict[str, int] | None = None) -> list[tuple[str, int]]:
    counts = {} if counts is None else counts
    return [mix.draw(counts) for _ in range(turns)]


def test_each_task_gets_its_share_to_the_prompt() -> None:
    drawn = Counter(
        task
        for task, _ in _drawn(
            TaskMix(weights={"grounding": 1.0, "math": 3.0, "document": 0.5}), 900
        )
    )
    assert drawn == {"grounding": 200, "math": 600, "document": 100}


def test_tasks_of_equal_weight_take_turns() -> None:
    drawn = [task for task, _ in _drawn(TaskMix(weights=dict.fromkeys(TASKS, 2.0)), 60)]
    assert all(set(drawn[start : start + 6]) == set(TASKS) for start in range(0, 60, 6))


@settings(max_examples=50, deadline=None)
@given(weights=WEIGHTS, turns=st.integers(1, 120))
def test_no_task_is_ever_a_whole_prompt_ahead_of_its_share(
    weights: dict[str, float], turns: int
) -> None:
    mix, counts = TaskMix(weights=weights), dict[str, int]()
    shares = {task: weight / sum(weights.values()) for task, weight in weights.items()}
    for turn in range(1, turns + 1):
        mix.draw(counts)
        # who is drawn was behind by the average of all, 1 / k of a prompt, at least; so it is ahead
        # by 1 - 1 / k at most
        assert (
            max(counts[task] - shares[task] * turn for task in counts)
            <= 1 - 1 / len(mix.shares) + 1e-9
        )
        assert sum(counts.values()) == turn


@settings(max_examples=50, deadline=None)
@given(weights=WEIGHTS, before=st.integers(0, 40), after=st.integers(1, 20))
def test_a_resumed_mixture_goes_on_from_its_counts(
    weights: dict[str, float], before: int, after: int
) -> None:
    whole = _drawn(TaskMix(weights=weights), before + after)
    counts = dict(Counter(task for task, _ in whole[:before]))
    # a new object, given the counts in another order
    assert _drawn(TaskMix(weights=weights), after, dict(reversed(counts.items()))) == whole[before:]


@settings(max_examples=50, deadline=None)
@given(weights=WEIGHTS)
def test_every_task_counts_its_own_prompts_and_weight_zero_is_never_drawn(
    weights: dict[str, float],
) -> None:
    drawn = _drawn(TaskMix(weights=weights), 40)
    for task in TASKS:
        indices = [index for name, index in drawn if name == task]
        assert indices == list(range(len(indices)))
        assert weights.get(task) or not indices


def test_tasks_are_in_the_order_in_which_weights_are_written() -> None:
    mix = TaskMix(weights={"spatial": 1.0, "chart": 1.0, "math": 1.0})
    assert [*mix.shares] == [task for task, _ in _drawn(mix, 3)] == ["spatial", "chart", "math"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"macro": 1.0}, r"^task_mix\.weights: .*'macro', which stands for the mean over tasks"),
        (
            {"math": 1.0, "chart": -0.5},
            r"task_mix\.weights\.chart: expected a weight >= 0, got -0\.5",
        ),
        ({"math": float("nan")}, r"task_mix\.weights\.math: expected a weight >= 0, got nan"),
        ({"math": float("inf")}, r"task_mix\.weights\.math: expected a weight >= 0, got inf"),
        ({"math": 0.0, "chart": 0.0}, r"at least one positive weight.*try task_mix=generalist"),
        ({}, r"at least one positive weight"),
    ],
)
def test_weights_that_make_no_mixture_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskMix(weights=weights)


def test_temperature_evens_out_shares_and_one_leaves_them() -> None:
    weights = {"math": 16.0, "chart": 4.0, "document": 1.0}
    # square roots at temperature 2: 4, 2, 1
    assert TaskMix(weights=weights, temperature=2.0).shares == pytest.approx(
        {"math": 4 / 7, "chart": 2 / 7, "document": 1 / 7}
    )
    assert TaskMix(weights=weights).shares == pytest.approx(
        {"math": 16 / 21, "chart": 4 / 21, "document": 1 / 21}
    )
    sharper = TaskMix(weights=weights, temperature=0.5).shares
    assert sharper["math"] == pytest.approx(256 / 273)


def test_a_mixture_by_size_weighs_prompts_and_not_tasks() -> None:
    mix = TaskMix(weights={"math": 1.0, "chart": 3.0}, by_size=True, temperature=2.0).sized(
        {"math": 16, "chart": 12}
    )
    assert mix.shares == pytest.approx({"math": 4 / 10, "chart": 6 / 10})
    plain = TaskMix(weights={"math": 1.0, "chart": 3.0})
    assert plain.sized({"math": 1600, "chart": None}) is plain


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"task_mix\.temperature: expected a number above 0"):
        TaskMix(weights={"math": 1.0}, temperature=temperature)


class Counted:
    """A source that has so many training prompts of each task, and a count of what it left out."""

    def __init__(self, reasons: list[str] | None = None, **sizes: int | None) -> None:
        self.sizes, self.skips = sizes, Skips(on_error="skip")
        self.tasks = tuple(sorted(sizes))
        for reason in reasons or []:
            self.skips.unusable("unknown", reason)

    def size(self, task: str, split: str) -> int | None:
        return self.sizes.get(task, 0)

    def get(self, task: str, index: int, split: str) -> Prompt:
        raise AssertionError("nothing is read before the start")


def _generalist(composed: Callable[..., Any], *overrides: str) -> TaskMix:
    return instantiate(composed(*overrides).task_mix, _convert_="all")


def test_the_default_mixture_takes_every_task_that_the_data_has_alike(
    composed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "g2rpo")
    found = mixture_of(Counted(math=120, chart=30), _generalist(composed))
    assert found.shares == {"math": 0.5, "chart": 0.5}
    (line,) = caplog.messages
    assert (
        line
        == "task_mix: math 50% (120 prompts), chart 50% (30 prompts); the data has no general_vqa,"
        " spatial, document, grounding"
    )
    whole = _generalist(composed)
    assert mixture_of(Counted(**dict.fromkeys(TASKS, None)), whole) is whole


def test_a_mixture_by_size_leaves_out_what_the_data_does_not_have(
    composed: Callable[..., Any],
) -> None:
    source = Counted(math=30, chart=10)
    stream = PromptStream(
        source=source,
        mix=mixture_of(source, _generalist(composed, "task_mix=proportional")),
        seed=0,
    )
    assert stream.mix.shares == {"math": 0.75, "chart": 0.25}


def test_a_mixture_that_names_its_tasks_wants_all_of_them(composed: Callable[..., Any]) -> None:
    with pytest.raises(
        ValueError,
        match=(
            r"no training prompt for 'general_vqa'; set task_mix\.weights\.general_vqa=0 or"
            r" task_mix\.abs"
        ),
    ):
        mixture_of(Counted(math=3), _generalist(composed, "task_mix=reasoning"))
    with pytest.raises(
        ValueError,
        match=(
            r"^task_mix: expected prompts of spatial, got a data source with chart, math only; try"
        ),
    ):
        mixture_of(Counted(math=3, chart=2), _generalist(composed, "task_mix=spatial"))
    with pytest.raises(
        ValueError, match=r"^task_mix\.absent: expected one of error, leave_out, got 'skip'"
    ):
        TaskMix(weights={"math": 1.0}, absent="skip")


def test_data_without_one_usable_record_is_refused_with_the_first_three_reasons(
    composed: Callable[..., Any],
) -> None:
    source = Counted([f"rows.jsonl, line {line}: no answer" for line in range(1, 6)])
    with pytest.raises(ValueError, match=r"^data: none of the 5 records can be used") as raised:
        mixture_of(source, _generalist(composed))
    message = str(raised.value)
    assert [f"line {line}:" in message for line in range(1, 6)] == [True] * 3 + [False] * 2
    assert "weights" not in message
    with pytest.raises(ValueError, match=r"^data: expected records, got none"):
        mixture_of(Counted(), _generalist(composed))


def test_the_default_weight_is_for_every_task_that_is_not_named(
    composed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "g2rpo")
    source = Counted(medical=3, gui=12, math=30, counting=9)
    found = mixture_of(source, _generalist(composed))
    assert [*found.shares.items()] == [
        (task, 0.25) for task in ("math", "counting", "gui", "medical")
    ]
    found = mixture_of(source, TaskMix(weights={"medical": 3.0, "math": 0.0, "default": 1.5}))
    assert [*found.shares.items()] == [("medical", 0.5), ("counting", 0.25), ("gui", 0.25)]
    assert caplog.messages[-1].endswith("gui 25% (12 prompts); not trained on: math")
    by_size = TaskMix(weights={"default": 1.0}, by_size=True)
    stream = PromptStream(source=source, mix=mixture_of(source, by_size), seed=0)
    assert stream.mix.shares["gui"] == pytest.approx(12 / 54)


def test_a_source_that_lists_no_tasks_is_asked_for_those_that_the_mixture_names() -> None:
    source = Counted(medical=3, gui=12)
    del source.tasks
    assert [*mixture_of(source, TaskMix(weights={"gui": 1.0})).shares] == ["gui"]
    with pytest.raises(
        ValueError, match=r"does not list its tasks; name them in task_mix\.weights"
    ):
        mixture_of(source, TaskMix(weights={"default": 1.0}))


def test_a_mixture_of_other_tasks_needs_some() -> None:
    with pytest.raises(ValueError, match=r"at least one positive weight .*, which has gui$"):
        mixture_of(Counted(gui=5), TaskMix(weights={"gui": 0.0, "default": 1.0}))


def test_a_task_that_looks_like_a_misspelling_is_named_with_both_counts(
    composed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    mixture_of(Counted(gui=40, giu=4, Medical=1, medical=3), _generalist(composed))
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "data: task 'Medical' has 1 training prompts and is spelled almost like 'medical', which"
        " has 3; if they are one task, correct the records",
        "data: task 'giu' has 4 training prompts and is spelled almost like 'gui', which has 40;"
        " if they are one task, correct the records",
    ]
    caplog.clear()
    mixture_of(Counted(gui=40, giu=5, math=1, level_1=30, level_2=1), _generalist(composed))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_misspelled_name_in_a_mixture_gets_a_suggestion(
    composed: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=r"prompt for 'giu'; did you mean 'gui'\? Otherwise set"):
        mixture_of(Counted(gui=4, math=4), TaskMix(weights={"giu": 2.0, "math": 1.0}))
    mixture_of(Counted(gui=4), _generalist(composed, "+task_mix.weights.giu=2.0"))
    assert caplog.messages[-1].startswith(
        "task_mix.weights.giu: the data has no such task, but one that is spelled almost alike,"
        " 'gui', which gets the weight 1;"
    )
