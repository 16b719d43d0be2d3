"""A run with a real vLLM server that writes ahead, for ten steps. `make test-vllm` runs it."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2rpo import cli
from g2rpo.records import Experience
from g2rpo.training.module import G2RPOModule

STEPS = 10
GAP = 2e-4
"""Nats by which engine and trainer may differ with the same weights in float32."""


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_ten_steps_ahead_with_whole_groups_and_tokens_that_know_their_weights(
    composed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vllm")
    seen: list[tuple[int, Experience]] = []
    experience = G2RPOModule.experience

    def noted(self: G2RPOModule, collected: Any) -> Any:
        found = experience(self, collected)
        seen.append((self.global_step, found[0]))
        return found

    monkeypatch.setattr(G2RPOModule, "experience", noted)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cli.train(
        composed(
            "experiment=smoke",
            "rollout=vllm_server",
            "rollout.ahead=1",
            f"trainer.max_steps={STEPS}",
            "heldout=none",
            "filter=none",
            "optimizer.lr=1e-3",
            "rollout.options=[--max-model-len, '512']",
            f"run_dir={tmp_path}",
        )
    )
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "finished"
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["rollout_batch"]]
    assert len(rows) == STEPS
    assert max(float(row["rollout/sync_logprob_gap"]) for row in rows) <= GAP
    assert {float(row["rollout/num_restarts"]) for row in rows} == {0}
    ages, gaps = Counter[int](), {0: 0.0, 1: 0.0}
    for step, batch in seen:
        rollouts, mask = batch.rollouts, batch.rollouts.completion_mask
        assert (rollouts.weight_versions[~mask] == -1).all()
        age = (step - rollouts.weight_versions)[mask]
        gap = (batch.trainer_logprobs - rollouts.old_logprobs)[mask].abs()
        ages.update(age.tolist())
        for years in gaps:
            gaps[years] = max([gaps[years], *gap[age == years].tolist()])
    print(dict(ages), gaps)  # noqa: T201  pytest shows it
    assert set(ages) == {0, 1}
    assert gaps[0] <= GAP  # what the newest weights wrote is what the trainer computes with them
    assert gaps[1] > 10 * GAP  # and older weights wrote the rest
    written = [json.loads(line) for line in (tmp_path / "completions.jsonl").open()]
    groups = Counter((row["step"], row["prompt_id"]) for row in written)
    assert set(groups.values()) == {4}
    assert len({prompt_id for _, prompt_id in groups}) == len(groups)
