"""The row of a step, against a batch that is small enough to be counted by hand."""

import math
from typing import Any

import pytest
import torch

from g2rpo import ranks
from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import METRICS, metric_of
from g2rpo.records import Prompt, PromptBatch, Rollouts, Scores
from g2rpo.rollout.kept_groups import Collected
from g2rpo.stopwatch import STAGES
from g2rpo.training.step_metrics import StepTimes, step_metrics
from g2rpo.training.table import completion_table
from g2rpo.training.update import UpdateStats

SPEED = (
    "time/tokens_per_second",
    "time/useful_frac",
    "time/tflops",
    "time/mfu_frac",
    "time/peak_gib",
)
MATH, CHART, GROUNDING = (TASKS.index(task) for task in ("math", "chart", "grounding"))


def per_task(**values: float) -> Any:
    return torch.tensor([values.get(task, 0.0) for task in TASKS])


def update(
    entropy: dict[str, float], tokens: dict[str, float], gap: float, **loss: float
) -> UpdateStats:
    numbers = {
        "policy": 0.0,
        "kl": 0.0,
        "entropy_band": 0.0,
        "clip_frac": 0.0,
        "ratio_mean": 1.0,
        "grad_norm": 1.0,
        "lr": 0.1,
    } | loss
    return UpdateStats(
        loss=numbers,
        entropy_sum=per_task(**entropy),
        tokens=per_task(**tokens),
        logprob_gap=gap,
        entropy_weight=None,
    )


def row(**options: Any) -> dict[str, float]:
    """Two math completions and two chart completions; a grounding prompt was drawn and dropped."""
    prompts = tuple(
        Prompt(id=t, task=t, text="?", images=(), answer="1", answer_type="numerical")
        for t in ("math", "chart")
    )
    ids = torch.zeros(2, 1, dtype=torch.long)
    batch = PromptBatch(
        prompts=prompts,
        input_ids=ids,
        attention_mask=ids,
        num_images=torch.zeros(2, dtype=torch.long),
        position=torch.arange(2),
    )
    lengths = torch.tensor([4, 1, 2, 3])
    mask = torch.arange(4) < lengths[:, None]
    rollouts = Rollouts(
        completion_ids=mask.long(),
        completion_mask=mask,
        old_logprobs=torch.zeros(4, 4),
        prompt=torch.tensor([0, 0, 1, 1]),
        finished=torch.tensor([False, True, True, True]),
        texts=("", "", "", ""),
    )
    parts = {
        "accuracy": torch.tensor([1.0, 0.0, 0.5, 1.0]),
        "format": torch.tensor([1.0, 1.0, 0.0, 1.0]),
    }
    scores = Scores(total=torch.tensor([1.0, 0.1, 0.2, 1.5]), parts=parts)
    collected = Collected(
        batch=batch,
        rollouts=rollouts,
        scores=scores,
        failed=torch.tensor([False, True, False, False]),
        draws=2,
        drawn={"math": 3, "chart": 1, "grounding": 2},
        kept={"math": 2, "chart": 1},
        places=[0, 1],
        num_groups=2,
        accuracies={},
        empty=False,
    )
    updates = options.get("updates") or [
        update({"math": 4.0}, {"math": 5.0}, 0.25, policy=1.0, clip_frac=0.5, grad_norm=3.0),
        update(
            {"math": 1.0, "chart": 2.0},
            {"math": 5.0, "chart": 5.0},
            9.0,
            policy=2.0,
            kl=0.5,
            entropy_band=0.125,
        ),
    ]
    times = StepTimes(
        start=10.0, rolled_out=12.5, probed=12.75, updated=13.5, stages=dict.fromkeys(STAGES, 0.125)
    )
    table = completion_table(
        collected,
        scores.total + 9,
        parts | options.get("parts", {}),
        options.get("advantage", G2RPO(scope="group")),
        TASKS,
    )
    return step_metrics(collected, table, updates, times)


def test_rewards_are_means_over_completions_before_shaping() -> None:
    found = row()
    assert found["reward/total"] == pytest.approx(0.7)
    assert (found["reward/accuracy/math"], found["reward/accuracy/chart"]) == (0.5, 0.75)
    assert (found["reward/format/math"], found["reward/format/chart"]) == (1.0, 0.5)
    assert (found["reward/failed_frac/math"], found["reward/failed_frac/chart"]) == (0.5, 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_advantage_that_is_not_finite_names_its_prompt(value: float) -> None:
    def broken(rewards: Any, *_: Any, **__: Any) -> Any:
        return torch.where(torch.arange(4) == 2, value, rewards)

    with pytest.raises(
        RuntimeError,
        match=r"^the advantages are nan or infinite \(prompts chart '.+'\); the weights",
    ):
        row(advantage=broken)


def test_lengths_are_counted_in_tokens_and_cut_completions_as_a_share() -> None:
    found = row()
    assert (found["rollout/completion_tokens/math"], found["rollout/completion_tokens/chart"]) == (
        2.5,
        2.5,
    )
    assert (found["rollout/truncated_frac/math"], found["rollout/truncated_frac/chart"]) == (
        0.5,
        0.0,
    )


def test_the_filter_is_logged_for_every_task_that_was_drawn() -> None:
    found = row()
    kept = {
        name.rpartition("/")[2]: value
        for name, value in found.items()
        if name.startswith("filter/kept_frac")
    }
    assert kept == pytest.approx({"math": 2 / 3, "chart": 1.0, "grounding": 0.0})
    assert found["filter/draws"] == 2.0


def test_entropy_is_weighted_by_tokens_over_all_updates() -> None:
    found = row()
    # math: (4 + 1) nats over 5 + 5 tokens, not the mean of 0.8 and 0.2 over other counts
    assert (found["policy/entropy_nats/math"], found["policy/entropy_nats/chart"]) == pytest.approx(
        (0.5, 0.4)
    )
    uneven = row(
        updates=[
            update({"math": 9.0}, {"math": 1.0}, 0.0),
            update({"math": 1.0}, {"math": 9.0}, 0.0),
        ]
    )
    assert uneven["policy/entropy_nats/math"] == pytest.approx(1.0)


def test_losses_are_means_over_updates_and_the_gap_is_that_of_the_first() -> None:
    found = row()
    assert (found["loss/policy"], found["loss/kl"], found["loss/entropy_band"]) == (
        1.5,
        0.25,
        0.0625,
    )
    assert (found["loss/clip_frac"], found["loss/ratio_mean"]) == (0.25, 1.0)
    assert (found["optim/grad_norm"], found["optim/lr"]) == (2.0, 0.1)
    assert found["policy/old_logprob_gap"] == 0.25


def test_times_are_differences_in_seconds() -> None:
    found = row()
    assert (
        found["time/step_s"],
        found["time/rollout_s"],
        found["time/gradient_conflict_s"],
        found["time/update_s"],
    ) == (3.5, 2.5, 0.25, 0.75)
    assert (found["time/vision_s"], found["time/backward_s"]) == (0.125, 0.125)


def test_the_length_part_is_logged_where_there_is_one() -> None:
    assert not any(name.startswith("reward/length") for name in row())
    found = row(parts={"length": torch.tensor([1.0, 0.5, 0.0, 0.5])})
    assert (found["reward/length/math"], found["reward/length/chart"]) == (0.75, 0.25)


def test_advantages_are_described_by_task() -> None:
    found = row()
    assert (
        found["advantage/mean/math"],
        found["advantage/zero_signal_frac/chart"],
    ) == pytest.approx((0.0, 0.0))
    assert found["advantage/std/chart"] == pytest.approx(0.6744898, abs=1e-6)


def test_a_row_holds_every_metric_that_no_other_part_of_a_run_logs() -> None:
    more = {name: torch.zeros(4) for name in ("length", "structure", "brevity")}
    named = {metric_of(column).name for column in row(parts=more)}
    engines = {
        "sync_logprob_gap",
        "logprob_gap_mean",
        "logprob_gap_max",
        "sampler_k3",
        "ess_frac",
        "rejected_frac",
        "num_regenerated",
        "num_restarts",
        "freed_gib",
    }
    cold_start = {"loss/nats_per_token", "loss/task_nats_per_token"}
    idle = {"time/trainer_wait_frac", "time/engine_idle_frac"}
    elsewhere = cold_start | idle | {f"rollout/{name}" for name in engines}
    evaluated = (
        "gradient/",
        "benchmark/",
        "val/",
        "rollout_batch",
        "shaping/",
        "staleness/",
        "curriculum/",
    )  # bands are shown beside the curves, and are no row
    assert named == {
        metric.name for metric in METRICS if not metric.name.startswith(evaluated)
    } - elsewhere - set(SPEED)


def test_a_part_is_the_mean_over_the_completions_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan = math.nan
    parts = {
        "judge": torch.tensor([nan, nan, 2.0, 5.0]),
        "log/letters": torch.tensor([7.0, nan, 1.0, 1.0]),
        "log/accuracy": torch.tensor([nan, 1.0, nan, nan]),
    }
    everywhere = ranks.all_gather_list
    monkeypatch.setattr(
        "g2rpo.ranks.all_gather_list",
        lambda own: [*everywhere(own), "of another rank"] if "judge" in own else everywhere(own),
    )
    found = row(parts=parts)
    of_parts = {name: value for name, value in found.items() if name.startswith("reward/")}
    assert of_parts == pytest.approx(
        {
            "reward/total": 0.7,
            "reward/accuracy/math": 1.0,
            "reward/accuracy/chart": 0.75,
            "reward/format/math": 1.0,
            "reward/format/chart": 0.5,
            "reward/failed_frac/math": 0.5,
            "reward/failed_frac/chart": 0.0,
            "reward/judge/chart": 3.5,
            "reward/letters/math": 7.0,
            "reward/letters/chart": 1.0,
        }
    )
