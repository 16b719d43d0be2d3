"""Completions that are cut are spoken of, with the key to raise, and not in every step."""

import pytest

from g2rpo.training.step_metrics import REPEAT_AFTER, CutNotice


def test_a_task_of_which_more_than_half_is_cut_is_named_with_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shares = {"math": 0.8, "chart": 0.5, "spatial": 0.51}
    metrics = {f"rollout/truncated_frac/{task}": share for task, share in shares.items()} | {
        "reward/accuracy/document": 0.9
    }
    CutNotice().watch(3, metrics, 56)
    assert caplog.messages == [
        "rollout batch 3: math 80%, spatial 51% of completions reached rollout.max_new_tokens=56"
        " and were cut before they ended; raise it"
    ]


def test_the_line_comes_back_after_some_steps_and_not_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notice = CutNotice()
    for step in range(1, 2 * REPEAT_AFTER + 2):
        notice.watch(step, {"rollout/truncated_frac/math": 1.0 if step > 1 else 0.0}, 8)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "rollout batch 2",
        f"rollout batch {2 + REPEAT_AFTER}",
    ]
