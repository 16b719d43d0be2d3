"""A run whose engine writes ahead: which prompts, in which order, how old, and after a restart."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from simulated_engines import SimulatedEngine

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.data.gym.source import TASKS
from g2rpo.data.stream import EveryPrompt
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import Prompt
from g2rpo.rollout.collect import KeepAll, OnlineFilter
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten


class Noting(EveryPrompt):
    """A curriculum that writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def observe(self, task: str, index: int, epoch: int, accuracy: float) -> None:
        self.seen.append((task, index))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": list(self.seen)}

    def load_state_dict(self, state: Any) -> None:
        self.seen = [tuple(turn) for turn in state["seen"]]


class EvenReward:
    """All right or all wrong for prompts of a task `chart`, mixed for others."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = 1.0 if prompt.task == "chart" else float(float(completion) > 0.5)
        return {"accuracy": accuracy, "total": accuracy}


class Ledger(L.Callback):
    """Which prompts each rollout batch learned from, and how old their completions were."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.prompts: list[list[str]] = []
        self.ages: list[list[int]] = []
        self.rows: list[dict[str, float]] = []
        self.in_flight: list[int] = []
        """Number of draws in flight after each rollout batch."""
        self.stop_after = stop_after

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        experience = outputs["experience"]
        self.prompts.append([prompt.id for prompt in experience.batch.prompts])
        rollouts = experience.rollouts
        versions = rollouts.weight_versions
        if versions is not None:
            step = trainer.global_step - pl_module.algorithm.batch.num_minibatches
            oldest = versions.masked_fill(~rollouts.completion_mask, 10**6).amin(1)
            self.ages.append((step - oldest).tolist())
        self.rows.append(outputs["metrics"])
        self.in_flight.append(len(trainer.datamodule.reserved))
        if len(self.prompts) == self.stop_after:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "stopped.ckpt")
            raise KeyboardInterrupt


@pytest.fixture
def fit(
    policy: Any,
    encoder: QwenEncoder,
    datamodule: Callable[..., PromptDataModule],
    tmp_path: Path,
) -> Callable[..., tuple[Ledger, PromptDataModule]]:
    def run(
        engine: SimulatedEngine,
        *,
        steps: int = 5,
        group_filter: Any = None,
        stop_after: int | None = None,
        resume: bool = False,
        num_minibatches: int = 1,
        tis_clip: float | None = 2.0,
    ) -> tuple[Ledger, PromptDataModule]:
        quieten()
        module = G2RPOModule(
            policy=policy,
            encoder=encoder,
            engine=engine,
            reward=EvenReward(),
            algorithm=Algorithm(
                tasks=TASKS,
                advantage=G2RPO(scope="group"),
                loss=ClipLoss(tis_clip=tis_clip),
                shaping=Shaping(length=None, entropy=None),
                batch=BatchPlan(prompts_per_step=2, group_size=4, num_minibatches=num_minibatches),
                optimizer=partial(torch.optim.SGD, lr=1e-4),
                group_filter=group_filter or KeepAll(),
                gradient_conflict=GradientConflict(every_n_steps=None),
            ),
        )
        ledger = Ledger(stop_after)
        trainer = L.Trainer(
            max_steps=steps * num_minibatches,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            callbacks=[ledger],
        )
        data = datamodule("math", "chart", steps=steps)
        data.stream.curriculum = Noting()
        try:
            trainer.fit(
                module,
                datamodule=data,
                ckpt_path=tmp_path / "stopped.ckpt" if resume else None,
                weights_only=True,
            )
        except SystemExit:  # Lightning's way to end after KeyboardInterrupt
            assert stop_after
        return ledger, data

    return run


def test_with_look_ahead_the_same_prompts_come_in_the_same_order_one_update_late(fit: Any) -> None:
    now, _ = fit(SimulatedEngine(ahead=0), steps=3)
    for ahead in (1, 2):
        engine = SimulatedEngine(ahead=ahead)
        ledger, data = fit(engine, steps=3)
        assert ledger.prompts == now.prompts
        assert [ids for _, ids in engine.asked] == now.prompts  # each once, and none too many
        assert max(max(ages) for ages in ledger.ages) <= ahead
        assert ledger.ages[0] == [0] * 8
        assert not data.reserved
        turns = [f"gym/train/{task}/{index}" for task, index in data.stream.curriculum.seen]
        assert len(set(turns)) == 6
        assert Counter(task for task, _ in data.stream.curriculum.seen) == {"math": 3, "chart": 3}


def test_completions_are_written_while_the_trainer_learns(fit: Any) -> None:
    ledger, _ = fit(SimulatedEngine(ahead=1, group_s=0.01))
    assert any(max(ages) == 1 for ages in ledger.ages)  # asked before the update


@pytest.mark.slow
def test_the_filter_goes_on_drawing_and_keeps_the_order_of_the_stream(fit: Any) -> None:
    mixed = OnlineFilter(max_draws=8)
    now, _ = fit(SimulatedEngine(ahead=0), group_filter=mixed, steps=4)
    engine = SimulatedEngine(ahead=1)
    ledger, _ = fit(engine, group_filter=mixed, steps=4)
    learned = [prompt_id for step in ledger.prompts for prompt_id in step]
    assert all("chart" not in prompt_id for prompt_id in learned)
    drawn = [prompt_id for _, ids in engine.asked for prompt_id in ids]
    assert len(set(drawn)) == len(drawn)
    assert learned == [prompt_id for prompt_id in drawn if prompt_id in set(learned)]
    draws = [row["filter/draws"] for row in ledger.rows]
    assert min(draws) >= 2
    assert all(have >= need for have, need in zip(ledger.in_flight[:-1], draws[:-1], strict=True))
    assert [len(step) for step in now.prompts] == [len(step) for step in ledger.prompts]


@pytest.mark.parametrize(
    "group_filter", [None, pytest.param(OnlineFilter(max_draws=8), marks=pytest.mark.slow)]
)
def test_a_stopped_run_goes_on_with_the_prompts_in_flight(fit: Any, group_filter: Any) -> None:
    whole_engine = SimulatedEngine(ahead=2)
    whole, data = fit(whole_engine, steps=6, group_filter=group_filter)
    fit(SimulatedEngine(ahead=2), steps=6, stop_after=3, group_filter=group_filter)
    resumed, resumed_data = fit(
        SimulatedEngine(ahead=2), steps=6, resume=True, group_filter=group_filter
    )
    # what is written does not depend on the weights here, so that all decisions are the same
    assert resumed.prompts == whole.prompts[3:]
    assert resumed_data.stream.curriculum.seen == data.stream.curriculum.seen
    assert resumed_data.stream.state_dict() == data.stream.state_dict()


@pytest.mark.slow
def test_a_run_with_look_ahead_can_go_on_without_and_the_other_way_round(fit: Any) -> None:
    whole, _ = fit(SimulatedEngine(ahead=0), steps=6)
    for before, after in ((2, 0), (0, 1)):
        stopped, _ = fit(SimulatedEngine(ahead=before), steps=6, stop_after=2)
        resumed, data = fit(SimulatedEngine(ahead=after), steps=6, resume=True)
        assert stopped.prompts + resumed.prompts == whole.prompts
        assert not data.reserved


@pytest.mark.slow
def test_groups_that_are_too_old_are_asked_again_and_counted(fit: Any) -> None:
    engine = SimulatedEngine(ahead=2, max_staleness=4)
    ledger, _ = fit(engine, num_minibatches=2)
    assert max(max(ages) for ages in ledger.ages) <= 4
    assert all(row["staleness/num_asked_again"] == 0 for row in ledger.rows)
    lagging = SimulatedEngine(ahead=1)
    lagging.load_weights = lambda policy, step: setattr(lagging, "version", step // 4 * 4)
    ledger, _ = fit(lagging, steps=4)
    asked = [row["staleness/num_asked_again"] for row in ledger.rows]
    assert asked == [0, 0, 0, 2]  # at step 3 the weights of step 0 are more than two updates old


def test_settings_that_do_not_go_together_are_refused_with_their_key(fit: Any) -> None:
    with pytest.raises(
        ValueError, match=r"loss\.tis_clip: expected a number with rollout\.ahead=1"
    ):
        fit(SimulatedEngine(ahead=1), tis_clip=None)
    with pytest.raises(ValueError, match=r"rollout\.max_staleness: expected at least 4 updates"):
        fit(SimulatedEngine(ahead=2, max_staleness=3), num_minibatches=2)

    class Colocated(SimulatedEngine):
        generate_ahead = None

    with pytest.raises(ValueError, match=r"rollout\.ahead: expected 0 with Colocated"):
        fit(Colocated(ahead=1))
