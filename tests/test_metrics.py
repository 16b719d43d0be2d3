"""Metrics: one table names every logged number; means are taken over completions, never over
means.
"""

import re

import pytest

from g2rpo.metrics import BY_NAME, METRICS, checked, metric_of


def test_every_metric_is_declared_once_with_noun_and_what() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+/[a-z0-9_]+", name)] == [
        "rollout_batch"
    ]


def test_every_metric_says_unit_meaning_and_which_value_of_a_run_counts() -> None:
    assert [
        m.name
        for m in METRICS
        if not m.unit or not m.meaning or m.summary not in {"last", "max", "min", "mean"}
    ] == []


def test_units_follow_from_the_endings_of_names() -> None:
    units = {"_frac": "frac", "_nats": "nats/token", "_tokens": "tokens", "_s": "s"}
    wrong = [
        m.name
        for m in METRICS
        for ending, unit in units.items()
        if m.name.endswith(ending) and m.unit != unit
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "column",
    [
        "reward/total",
        "reward/accuracy/chart",
        "advantage/std/grounding",
        "policy/entropy_nats/math",
        "rollout/completion_tokens/document",
        "loss/clip_frac",
        "time/step_s",
        "time/rollout_s",
        "time/update_s",
    ],
)
def test_the_columns_that_scripts_outside_rely_on_are_declared(column: str) -> None:
    assert column.startswith(metric_of(column).name)


def test_a_task_suffix_belongs_to_per_task_metrics_only() -> None:
    assert metric_of("reward/accuracy/spatial") is BY_NAME["reward/accuracy"]
    assert metric_of("loss/kl") is BY_NAME["loss/kl"]
    for column in (
        "reward/accuracy",
        "loss/kl/spatial",
        "loss/kll",
        "chart",
        "",
    ):
        with pytest.raises(KeyError, match=r"is not declared in g2rpo/metric_table\.py"):
            metric_of(column)


def test_an_undeclared_column_is_kept_and_named_in_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(2):
        assert checked({"loss/policy": 0.1, "loss/typo": 0.0}) == {
            "loss/policy": 0.1,
            "loss/typo": 0.0,
        }
    assert [record.message for record in caplog.records] == [
        "'loss/typo' is not declared in g2rpo/metric_table.py; it is logged without unit and"
        " meaning"
    ]


def test_a_checked_row_is_a_copy_of_itself() -> None:
    row = {"loss/policy": -0.25, "reward/accuracy/math": 0.5}
    copy = checked(row)
    assert copy == row
    assert copy is not row


def test_a_benchmark_metric_exists_once_for_each_benchmark_of_whatever_name() -> None:
    assert metric_of("benchmark/score/refcoco_plus") is BY_NAME["benchmark/score"]
    assert metric_of("benchmark/score/theirs") is BY_NAME["benchmark/score"]
    assert metric_of("benchmark/macro") is BY_NAME["benchmark/macro"]
    for column in (
        "benchmark/score",
        "benchmark/score/",
        "benchmark/macro/mmmu",
        "benchmark/scores/mmmu",
        "benchmark/score/a/b",
    ):
        with pytest.raises(KeyError, match="is not declared"):
            metric_of(column)


def test_a_part_of_a_reward_of_the_user_is_declared_by_its_place() -> None:
    assert metric_of("reward/brevity/chart") is BY_NAME["reward/part"]
    assert metric_of("reward/format/chart") is BY_NAME["reward/format"]
    with pytest.raises(KeyError):
        metric_of("reward/brevity")
    with pytest.raises(KeyError):
        metric_of("rewards/brevity/chart")
