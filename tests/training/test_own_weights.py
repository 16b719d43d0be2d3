"""What the module does for an engine that has weights of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import PromptBatch, Rollouts, Sampling
from g2rpo.rollout.collect import KeepAll
from g2rpo.rollout.vllm import VLLMEngine
from g2rpo.rollout.vllm_server import VLLMServerEngine
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten
from g2rpo.training.run_log import completion_rows

RATIOS = [2.0, 2.0, 0.5, 0.5]


@pytest.fixture
def noting(scripted: Any) -> Any:
    """A scripted engine that has weights of its own, and writes down who called it when."""

    class Noting(scripted):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.calls: list[str] = []

        def check_world_size(self, num_processes: int) -> None:
            self.calls.append(f"{num_processes} processes")

        @contextmanager
        def generating(self) -> Iterator[None]:
            self.calls.append("enter")
            yield
            self.calls.append("leave")

        def generate(self, batch: PromptBatch, sampling: Sampling, seed: int) -> Rollouts:
            self.calls.append("generate")
            return super().generate(batch, sampling, seed)

        def load_weights(self, policy: Any, step: int) -> None:
            self.calls.append(f"weights {step}")
            super().load_weights(policy, step)

        def sleep(self) -> None:
            self.calls.append("rest")

        def metrics(self) -> dict[str, float]:
            self.calls.append("metrics")
            return {"rollout/sync_logprob_gap": 0.25}

    return Noting(lengths=[3, 5, 2, 7], ratios=RATIOS)


@pytest.fixture
def fitted(
    policy: Any,
    encoder: QwenEncoder,
    listed: Any,
    datamodule: Callable[..., PromptDataModule],
    tmp_path: Path,
    recorder: L.Callback,
) -> Callable[..., G2RPOModule]:
    def fit(engine: Any, *, steps: int = 1, tis_clip: float | None = None) -> G2RPOModule:
        quieten()
        module = G2RPOModule(
            policy=policy,
            reference=None,
            encoder=encoder,
            engine=engine,
            reward=listed([1.0, 0.0, 0.0, 1.0]),
            algorithm=Algorithm(
                tasks=TASKS,
                advantage=G2RPO(scope="group"),
                loss=ClipLoss(tis_clip=tis_clip),
                shaping=Shaping(length=None, entropy=None),
                batch=BatchPlan(prompts_per_step=2, group_size=2),
                optimizer=partial(torch.optim.SGD, lr=0.1),
                group_filter=KeepAll(),
                gradient_conflict=GradientConflict(every_n_steps=None),
                max_grad_norm=1.0,
                failure_budget=0.0,
                seed=0,
            ),
        )
        trainer = L.Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[recorder],
        )
        trainer.fit(module, datamodule=datamodule("math", "chart", steps=steps))
        return module

    return fit


def test_it_rests_between_drawing_and_updating_and_starts_from_the_trainers_weights(
    noting: Any, fitted: Any
) -> None:
    fitted(noting, steps=2)
    step = ["enter", "generate", "leave", "rest"]
    assert noting.calls == [
        "weights 0",
        *step,
        "weights 1",
        "metrics",
        *step,
        "weights 2",
        "metrics",
    ]


def test_its_numbers_are_in_the_row_of_the_step(noting: Any, fitted: Any) -> None:
    assert fitted(noting).last["metrics"]["rollout/sync_logprob_gap"] == 0.25


def test_an_undeclared_number_of_an_engine_is_logged_and_named_once(
    noting: Any, fitted: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(noting, "metrics", lambda: {"rollout/typo": 1.0})
    with caplog.at_level("WARNING"):
        row = fitted(noting, steps=2).last["metrics"]
    assert row["rollout/typo"] == 1.0
    assert [record.message for record in caplog.records if "rollout/typo" in record.message] == [
        "'rollout/typo' is not declared in g2rpo/metric_table.py; it is logged without unit and"
        " meaning"
    ]


def test_old_weights_and_idle_time_are_in_the_row_and_the_timeline(
    noting: Any, fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = noting.generate

    def generated_by_the_first_weights(*args: Any) -> Rollouts:
        rollouts = generate(*args)
        versions = torch.zeros_like(rollouts.completion_ids)
        return replace(rollouts, weight_versions=versions.where(rollouts.completion_mask, -1))

    monkeypatch.setattr(noting, "generate", generated_by_the_first_weights)
    module = fitted(noting, steps=3)
    last, row = module.last, module.last["metrics"]
    assert row["staleness/mean/math"] == row["staleness/max/chart"] == 2.0
    lanes = {span[:2] for span in last["timeline"]}
    assert lanes >= {("engine", "decode"), ("trainer", "wait"), ("trainer", "update")}
    assert 0 < row["time/trainer_wait_frac"] < 1
    assert 0 < row["time/engine_idle_frac"] < 1
    rows = completion_rows(3, 3, last["experience"], module.encoder.end_tokens)
    assert {each["staleness"] for each in rows} == {2}


def test_the_mismatch_of_sampler_and_trainer_is_logged_where_the_trainer_computes_it(
    noting: Any, fitted: Any
) -> None:
    row = fitted(noting, tis_clip=2.0).last["metrics"]
    # the policy gives every token of math twice, of chart half the probability that the sampler
    # reports: weights that are all equal
    assert row["rollout/logprob_gap_mean/math"] == pytest.approx(0.6931, abs=1e-4)
    assert row["rollout/sampler_k3/math"] == pytest.approx(2 - 1 - 0.6931, abs=1e-4)
    assert row["rollout/sampler_k3/chart"] == pytest.approx(0.5 - 1 + 0.6931, abs=1e-4)
    assert row["rollout/ess_frac/chart"] == pytest.approx(1.0, abs=1e-6)
    assert row["loss/ratio_mean"] == pytest.approx(
        1.0, abs=1e-5
    )  # of the policy to the trainer's own numbers
    assert not any("mismatch" in name or "ess" in name for name in fitted(noting).last["metrics"])


def test_several_processes_have_engines_beside_them_or_share_servers_that_run_already() -> None:
    engine = VLLMEngine(max_new_tokens=4)
    engine.check_world_size(1)
    assert not engine.in_subprocess
    engine.check_world_size(2)
    assert engine.in_subprocess
    VLLMEngine(max_new_tokens=4, tensor_parallel_size=4).check_world_size(8)
    with pytest.raises(
        ValueError,
        match=(
            r"rollout\.tensor_parallel_size: expected a divisor of the number of trainer processes,"
            r" 6 .*, got 4"
        ),
    ):
        VLLMEngine(max_new_tokens=4, tensor_parallel_size=4).check_world_size(6)
    VLLMServerEngine(max_new_tokens=4, weights_dir="weights", urls=["http://h:1"]).check_world_size(
        8
    )
    VLLMServerEngine(max_new_tokens=4, weights_dir="weights").check_world_size(1)
    with pytest.raises(
        ValueError,
        match=(
            r"rollout\.urls: with several trainer processes, servers are started beforehand:"
            r" .*rollout=vllm"
        ),
    ):
        VLLMServerEngine(max_new_tokens=4, weights_dir="weights").check_world_size(2)


def test_importance_sampling_is_on_with_engines_of_their_own_and_off_otherwise(
    composed: Callable[..., Any],
) -> None:
    for rollout, expected in {"hf": None, "vllm": 2.0, "vllm_server": 2.0}.items():
        assert composed(f"rollout={rollout}", "run_dir=x").loss.tis_clip == expected
    assert composed("rollout=vllm", "loss=gspo", "run_dir=x").loss.tis_clip == 2.0
    assert composed("rollout=vllm", "loss.tis_clip=null", "run_dir=x").loss.tis_clip is None
    assert composed("loss.tis_clip=3.0", "run_dir=x").loss.tis_clip == 3.0
