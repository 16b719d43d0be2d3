"""One step of training with a scripted engine, against numbers worked out by hand."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from g2rpo.algorithm.advantage.ema_grpo import EMAGRPO
from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.g2rpo_decoupled import DecoupledG2RPO
from g2rpo.algorithm.advantage.gdpo import GDPO
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.algorithm.shaping import Shaping
from g2rpo.algorithm.shaping.length import LengthBand
from g2rpo.data.gym.source import TASKS
from g2rpo.metrics import metric_of
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.rollout.collect import KeepAll, OnlineFilter
from g2rpo.training.algorithm import Algorithm
from g2rpo.training.batch_plan import BatchPlan
from g2rpo.training.datamodule import PromptDataModule
from g2rpo.training.gradients import GradientConflict
from g2rpo.training.module import G2RPOModule
from g2rpo.training.quiet import quieten
from g2rpo.training.run_log import RunLog

LENGTHS = [3, 5, 2, 7]
ACCURACIES = [1.0, 0.0, 0.0, 1.0]
QUANTILE = 0.6744898
"""Phi^-1(3/4): in a group of two, the better completion gets this advantage and the other its
negative.
"""
RATIOS = [1.5, 1.5, 0.5, 0.5]


@pytest.fixture
def build(
    policy: Any, encoder: QwenEncoder, scripted: Any, listed: Any
) -> Callable[..., G2RPOModule]:
    """A module on two prompts with two completions each; keywords replace its parts."""

    def module(**changed: Any) -> G2RPOModule:
        parts = {
            "policy": policy,
            "reference": None,
            "encoder": encoder,
            "engine": scripted(lengths=LENGTHS),
            "reward": listed(ACCURACIES),
        }
        algorithm = {
            "tasks": TASKS,
            "advantage": G2RPO(scope="group"),
            "loss": ClipLoss(),
            "shaping": Shaping(length=None, entropy=None),
            "batch": BatchPlan(prompts_per_step=2, group_size=2),
            "optimizer": partial(torch.optim.SGD, lr=0.5),
            "group_filter": KeepAll(),
            "gradient_conflict": GradientConflict(every_n_steps=None),
            "max_grad_norm": 1.0,
            "failure_budget": 0.0,
            "seed": 0,
        }
        parts |= {name: value for name, value in changed.items() if name in parts}
        algorithm |= {name: value for name, value in changed.items() if name not in parts}
        return G2RPOModule(**parts, algorithm=Algorithm(**algorithm))

    return module


@pytest.fixture
def fitted(
    datamodule: Callable[..., PromptDataModule], tmp_path: Path, recorder: L.Callback
) -> Callable[..., L.Trainer]:
    """Trains a module for so many rollout batches of a math and a chart prompt."""

    def fit(
        module: G2RPOModule,
        *,
        steps: int = 1,
        updates: int | None = None,
        callbacks: list[L.Callback] | None = None,
    ) -> L.Trainer:
        quieten()
        trainer = L.Trainer(
            max_steps=updates or steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            default_root_dir=tmp_path,
            callbacks=[recorder, *(callbacks or [])],
        )
        trainer.fit(module, datamodule=datamodule("math", "chart", steps=steps))
        return trainer

    return fit


def numbers(trainer: L.Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.lightning_module.last["metrics"].items()}


def test_on_policy_the_loss_is_minus_the_token_mean_of_the_advantages(
    build: Any, fitted: Any
) -> None:
    row = numbers(fitted(build()))
    # ratios are 1: -(3 - 5 - 2 + 7) * 0.6745 / 17 tokens
    assert row["loss/policy"] == pytest.approx(-3 * QUANTILE / 17, abs=1e-5)
    assert row["loss/ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    assert row["policy/old_logprob_gap"] == pytest.approx(0.0, abs=1e-5)
    assert (row["loss/clip_frac"], row["loss/kl"], row["loss/entropy_band"]) == pytest.approx(
        (0.0, 0.0, 0.0), abs=1e-5
    )


def test_off_policy_the_loss_is_clipped_as_worked_out_by_hand(
    build: Any, fitted: Any, scripted: Any
) -> None:
    row = numbers(fitted(build(engine=scripted(lengths=LENGTHS, ratios=RATIOS))))
    # tokens x charged ratio: good 3 x 1.3 (cut at 1.3), bad 5 x 1.5, bad 2 x 0.8 (cut at 0.8), good
    # 7 x 0.5
    assert row["loss/policy"] == pytest.approx((-3.9 + 7.5 + 1.6 - 3.5) * QUANTILE / 17, abs=1e-5)
    assert row["loss/clip_frac"] == pytest.approx((3 + 2) / 17, abs=1e-6)
    assert row["loss/ratio_mean"] == pytest.approx((1.5 * 8 + 0.5 * 9) / 17, abs=1e-5)
    assert row["policy/old_logprob_gap"] == pytest.approx(0.693147, abs=1e-4)


def test_a_step_logs_rewards_lengths_and_advantages_by_task_under_declared_names(
    build: Any, fitted: Any
) -> None:
    row = numbers(fitted(build()))
    assert {name: metric_of(name).name for name in row} == {
        name: name.removesuffix("/math").removesuffix("/chart") for name in row
    }
    assert row["reward/total"] == 0.5
    assert (row["rollout/completion_tokens/math"], row["rollout/completion_tokens/chart"]) == (
        4.0,
        4.5,
    )
    assert row["advantage/std/math"] == pytest.approx(QUANTILE, abs=1e-6)
    assert row["filter/draws"] == 1.0
    assert row["time/step_s"] >= row["time/rollout_s"] > 0


def test_the_step_is_as_long_as_learning_rate_times_the_bound_on_the_gradient(
    build: Any, fitted: Any, policy: Any
) -> None:
    before = copy.deepcopy(policy.state_dict())
    row = numbers(fitted(build(max_grad_norm=0.01)))
    moved = {name: value for name, value in policy.named_parameters()}
    length = (
        sum((moved[name] - before[name]).double().square().sum() for name in moved).sqrt().item()
    )
    assert row["optim/grad_norm"] > 0.01
    assert row["optim/lr"] == 0.5
    assert length == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_no_gradient_is_left_when_a_step_ends_for_the_next_or_for_the_rollouts_memory(
    build: Any, fitted: Any, policy: Any
) -> None:
    fitted(build(), steps=2)
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_the_engine_is_given_the_weights_after_every_step_and_a_new_seed_for_each(
    build: Any, fitted: Any, policy: Any, scripted: Any
) -> None:
    engine = scripted(lengths=LENGTHS)
    fitted(build(engine=engine), steps=3)
    assert [step for step, _ in engine.synced] == [1, 2, 3]
    assert len(set(engine.seeds)) == 3
    assert all(
        torch.equal(value, engine.synced[-1][1][name])
        for name, value in policy.state_dict().items()
    )
    assert any(
        not torch.equal(value, engine.synced[0][1][name])
        for name, value in policy.state_dict().items()
    )


def test_two_minibatches_are_two_updates_of_one_step(
    build: Any, fitted: Any, scripted: Any
) -> None:
    engine = scripted(lengths=LENGTHS)
    module = build(
        engine=engine,
        batch=BatchPlan(prompts_per_step=2, group_size=2, num_minibatches=2),
        max_grad_norm=1e-4,
    )
    trainer = fitted(module, steps=1, updates=2)
    assert (trainer.global_step, module.rollout_batch, len(engine.seeds)) == (2, 1, 1)
    row = numbers(trainer)
    # one group and its own denominator each: -(3 - 5) q / 8 and -(-2 + 7) q / 9; the first update
    # is too short to show in the second
    assert row["loss/policy"] == pytest.approx((2 * QUANTILE / 8 - 5 * QUANTILE / 9) / 2, abs=1e-3)
    assert row["policy/old_logprob_gap"] == pytest.approx(0.0, abs=1e-5)


def test_micro_batches_change_no_number_of_a_step(
    build: Any, fitted: Any, policy: Any, scripted: Any
) -> None:
    rows, weights, start = [], [], copy.deepcopy(policy.state_dict())
    for micro in (None, 1):
        policy.load_state_dict(start)
        reference = copy.deepcopy(policy)
        reference.model.language_model.norm.weight.data.mul_(0.9)
        engine = scripted(lengths=LENGTHS, ratios=RATIOS)
        plan = BatchPlan(prompts_per_step=2, group_size=2, micro_batch_prompts=micro)
        rows.append(
            numbers(
                fitted(
                    build(
                        engine=engine, batch=plan, loss=ClipLoss(kl_coef=0.2), reference=reference
                    )
                )
            )
        )
        weights.append(copy.deepcopy(policy.state_dict()))
    assert rows[0]["loss/kl"] > 1e-3
    assert {k: v for k, v in rows[0].items() if "time/" not in k} == pytest.approx(
        {k: v for k, v in rows[1].items() if "time/" not in k}, rel=1e-6, abs=1e-5
    )
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-6, rtol=0)


def test_the_length_part_is_added_to_what_is_ranked_and_logged_before_its_weight(
    build: Any, fitted: Any, listed: Any
) -> None:
    band = LengthBand(
        bands={"math": [0, 1, 4, 6], "chart": [0, 1, 4, 10], "default": None},
        weight=0.1,
        min_accuracy=0.5,
        allow_in_unanimous_groups=True,
    )
    module = build(reward=listed([1.0, 1.0, 1.0, 0.0]), shaping=Shaping(length=band, entropy=None))
    row = numbers(fitted(module))
    # math: 3 tokens lie on the plateau, 5 halfway down; chart: 2 tokens on the plateau, the wrong
    # one earns nothing
    assert (row["reward/length/math"], row["reward/length/chart"]) == pytest.approx((0.75, 0.5))
    experience = module.last["experience"]
    assert experience.rewards.tolist() == pytest.approx([1.1, 1.05, 1.1, 0.0])
    assert experience.scores.total.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert experience.advantages.tolist() == pytest.approx(
        [QUANTILE, -QUANTILE, QUANTILE, -QUANTILE]
    )
    assert (row["advantage/shaping_only_frac/math"], row["advantage/shaping_only_frac/chart"]) == (
        1.0,
        0.0,
    )


def test_groups_that_agree_are_replaced_by_the_next_prompts_of_the_stream(
    build: Any, fitted: Any, listed: Any
) -> None:
    # first draw: math agrees, chart does not; second draw: math does not agree either, and fills
    # the step
    module = build(
        reward=listed([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
        group_filter=OnlineFilter(max_draws=3),
    )
    trainer = fitted(module)
    assert [prompt.id for prompt in module.last["experience"].batch.prompts] == [
        "gym/train/chart/0",
        "gym/train/math/1",
    ]
    row = numbers(trainer)
    assert (row["filter/draws"], row["filter/kept_frac/math"], row["filter/kept_frac/chart"]) == (
        2.0,
        0.5,
        0.5,
    )
    assert trainer.datamodule.state_dict()["stream"]["counts"] == {"math": 2, "chart": 2}


def test_a_run_goes_on_without_anything_to_learn_and_stops_after_so_many_draws_in_a_row(
    build: Any, fitted: Any, listed: Any
) -> None:
    filtered = OnlineFilter(max_draws=2, empty_draws=5)
    module = build(reward=listed([1.0]), group_filter=filtered)
    with pytest.raises(
        RuntimeError,
        match=(
            r"step 3: filter: no group with mixed accuracy in 6 draws in a row, prompts of math,"
            r" chart"
        ),
    ):
        fitted(module, steps=4)
    assert module.rollout_batch == 2
    # steps that differ in nothing but one good draw: the count begins anew
    module = build(reward=listed([1.0] * 16 + [1.0, 0.0] * 2 + [1.0] * 16), group_filter=filtered)
    fitted(module, steps=4)
    assert (module.rollout_batch, module.empty_draws) == (4, 2)


def test_without_a_kl_term_no_reference_is_held_and_with_one_it_stands_still(
    build: Any, fitted: Any, policy: Any
) -> None:
    module = build()
    fitted(module)
    assert module.last["experience"].ref_logprobs is None
    reference = copy.deepcopy(policy).requires_grad_(False)
    before = copy.deepcopy(reference.state_dict())
    held = build(loss=ClipLoss(kl_coef=0.1, kl_estimator="k3"), reference=reference)
    assert [name for name in held.state_dict() if not name.startswith("policy.")] == []
    first = numbers(fitted(held))
    assert first["loss/kl"] == pytest.approx(
        0.0, abs=1e-7
    )  # policy and reference are still the same
    second = numbers(fitted(held))
    assert second["loss/kl"] > 1e-4
    assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())


class BreaksAt(ClipLoss):
    """Becomes nan, or gets a gradient that is not finite, at its n-th call."""

    def __init__(self, call: int, *, gradient_only: bool) -> None:
        super().__init__()
        self.call, self.gradient_only, self.calls = call, gradient_only, 0

    def __call__(self, logprobs: Any, *args: Any, **options: Any) -> Any:
        value, stats = super().__call__(logprobs, *args, **options)
        self.calls += 1
        if self.calls < self.call:
            return value, stats
        broken = (
            (logprobs - logprobs.detach()).sum().abs().sqrt()
            if self.gradient_only
            else torch.tensor(float("nan"))
        )
        return value + broken, stats


@pytest.mark.parametrize(
    ("gradient_only", "words"),
    [(False, r"loss became nan \(prompts chart '.+'\)"), (True, r"gradient norm became nan")],
)
def test_what_is_not_finite_stops_the_run_and_leaves_the_weights_before_it(
    build: Any,
    fitted: Any,
    policy: Any,
    scripted: Any,
    tmp_path: Path,
    gradient_only: bool,
    words: str,
) -> None:
    engine = scripted(lengths=LENGTHS)
    # two micro-batches a step: the fourth call is the chart prompt of step 2
    plan = BatchPlan(prompts_per_step=2, group_size=2, micro_batch_prompts=1)
    module = build(engine=engine, batch=plan, loss=BreaksAt(4, gradient_only=gradient_only))
    with pytest.raises(
        RuntimeError,
        match=rf"step 2: {words}.*weights before it are in .*last_finite\.ckpt.*optimizer\.lr",
    ):
        fitted(module, steps=3)
    saved = torch.load(tmp_path / "checkpoints" / "last_finite.ckpt", weights_only=False)[
        "state_dict"
    ]
    ((step, after_first),) = engine.synced
    assert step == 1
    for name, value in after_first.items():
        assert torch.equal(saved[f"policy.{name}"], value)
        assert torch.equal(policy.state_dict()[name], value)


def test_a_checkpoint_carries_the_step_and_the_memory_of_the_advantage(
    build: Any, fitted: Any, tmp_path: Path
) -> None:
    advantage = EMAGRPO(decay=0.5)
    module = build(advantage=advantage)
    trainer = fitted(module, steps=2)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert saved["g2rpo"]["rollout_batch"] == 2
    other = build(advantage=EMAGRPO(decay=0.5))
    other.on_load_checkpoint(saved)
    assert other.rollout_batch == 2
    assert other.kept_share.share == module.kept_share.share == 1.0  # filter=none keeps all
    assert other.algorithm.advantage.moments == advantage.moments != {}
    # an estimator without memory asks for nothing
    build(advantage=G2RPO()).on_load_checkpoint(
        {"g2rpo": {"rollout_batch": 1, "empty_draws": 0, "advantage": {}}}
    )


def test_completions_are_written_with_their_verdicts_after_every_step(
    build: Any, fitted: Any, tmp_path: Path
) -> None:
    fitted(build(), steps=2, callbacks=[RunLog(folder=tmp_path)])
    rows = [
        json.loads(line)
        for line in (tmp_path / "completions.jsonl").read_text().split("\n")
        if line
    ]
    assert [row["step"] for row in rows] == [1] * 4 + [2] * 4
    third = rows[2]
    assert (third["task"], third["prompt_id"], third["completion"]) == (
        "chart",
        "gym/train/chart/0",
        "completion 2",
    )
    assert (
        third["reward"],
        third["accuracy"],
        third["format"],
        third["completion_tokens"],
        third["finished"],
    ) == (0.0, 0.0, 1.0, 2, True)
    assert third["advantage"] == pytest.approx(-QUANTILE)
    assert rows[6]["prompt_id"] == "gym/train/chart/1"


def test_gradient_conflict_is_the_gradient_of_each_task_as_if_it_were_alone(
    build: Any, fitted: Any, policy: Any
) -> None:
    start = copy.deepcopy(policy.state_dict())
    probed = numbers(
        fitted(build(gradient_conflict=GradientConflict(every_n_steps=1), max_grad_norm=1e9))
    )
    after_probe = copy.deepcopy(policy.state_dict())
    policy.load_state_dict(start)
    unprobed = numbers(fitted(build(max_grad_norm=1e9)))
    assert probed["optim/grad_norm"] == pytest.approx(unprobed["optim/grad_norm"], rel=1e-6)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, after_probe[name])  # the probe moves nothing
    tokens = {"math": 8, "chart": 9}
    # the whole gradient is the token-weighted mean of the tasks' own: its norm obeys the cosine
    # rule
    parts = {task: probed[f"gradient/norm/{task}"] * count / 17 for task, count in tokens.items()}
    rule = (
        parts["math"] ** 2
        + parts["chart"] ** 2
        + 2 * parts["math"] * parts["chart"] * probed["gradient/cosine/math/chart"]
    )
    assert rule**0.5 == pytest.approx(probed["optim/grad_norm"], rel=1e-4)
    assert probed["time/gradient_conflict_s"] > unprobed["time/gradient_conflict_s"] >= 0


def test_a_kl_in_the_reward_is_subtracted_before_ranking_and_no_part_of_the_loss(
    build: Any, fitted: Any, policy: Any, listed: Any
) -> None:
    reference = copy.deepcopy(policy).requires_grad_(False)
    reference.model.language_model.norm.weight.data.mul_(0.9)
    loss = ClipLoss(kl_coef=0.5, kl_placement="reward", kl_estimator="k1")
    module = build(loss=loss, reference=reference, reward=listed([1.0] * 4))
    row = numbers(fitted(module))
    experience = module.last["experience"]
    mask = experience.rollouts.completion_mask
    penalty = ((experience.rollouts.old_logprobs - experience.ref_logprobs) * mask).sum(1)
    assert penalty.abs().min() > 1e-3
    torch.testing.assert_close(experience.rewards, 1.0 - 0.5 * penalty)
    better = penalty.view(2, 2).argmin(1)
    assert experience.advantages.view(2, 2).argmax(1).tolist() == better.tolist()
    assert row["loss/kl"] == pytest.approx((penalty.sum() / mask.sum()).item(), abs=1e-5)
    signed = (experience.advantages * mask.sum(1)).sum().item() / 17
    assert row["loss/policy"] == pytest.approx(-signed, abs=1e-5)
    assert row["reward/total"] == 1.0
    assert (row["advantage/shaping_only_frac/math"], row["advantage/shaping_only_frac/chart"]) == (
        1.0,
        1.0,
    )


def test_a_kl_in_the_reward_that_an_advantage_would_not_see_is_refused(build: Any) -> None:
    loss = ClipLoss(kl_coef=0.1, kl_placement="reward")
    for advantage in (GDPO(), DecoupledG2RPO()):
        with pytest.raises(
            ValueError,
            match=(
                r"loss.kl_placement=reward: this advantage ranks the parts.*loss.kl_placement=loss"
            ),
        ):
            build(loss=loss, advantage=advantage)
    build(
        loss=ClipLoss(kl_placement="reward"), advantage=GDPO()
    )  # without a coefficient there is no KL to lose


def test_with_importance_sampling_ratios_start_at_the_trainer_and_weights_at_the_sampler(
    build: Any, fitted: Any, scripted: Any
) -> None:
    engine = scripted(lengths=LENGTHS, ratios=[4.0, 0.5, 1.0, 1.0])
    module = build(engine=engine, loss=ClipLoss(tis_clip=2.0))
    row = numbers(fitted(module))
    assert row["loss/ratio_mean"] == pytest.approx(1.0, abs=1e-5)  # on-policy for the trainer
    assert row["loss/clip_frac"] == 0.0
    assert row["policy/old_logprob_gap"] == pytest.approx(1.386294, abs=1e-4)
    # weights 2 (cut from 4), 0.5, 1, 1 on 3, 5, 2, 7 tokens
    assert row["loss/policy"] == pytest.approx(-(2 * 3 - 0.5 * 5 - 2 + 7) * QUANTILE / 17, abs=1e-5)


def test_weights_that_broke_are_named_when_sampling_fails(
    build: Any, fitted: Any, scripted: Any
) -> None:
    class Broken(scripted):
        def generate(self, *args: Any) -> Any:
            if self.seeds:
                raise FloatingPointError("the policy's logits became nan while sampling")
            return super().generate(*args)

    with pytest.raises(
        RuntimeError,
        match=r"step 2: .* while sampling \(sampling for prompts chart '.+', math '.+'\)\. .*lower",
    ):
        fitted(build(engine=Broken(lengths=LENGTHS)), steps=3)


def test_pictures_follow_rollout_batches_and_not_the_updates_made_from_them(
    build: Any, fitted: Any, tmp_path: Path
) -> None:
    module = build(batch=BatchPlan(prompts_per_step=2, group_size=2, num_minibatches=2))
    fitted(module, steps=5, updates=10, callbacks=[RunLog(folder=tmp_path)])
    # batches 1, 2, 4 and the last, which end at updates 2, 4, 8 and 10; each has one chart prompt
    assert {path.name for path in (tmp_path / "images").glob("*chart*")} == {
        f"gym-train-chart-{batch}-0.png" for batch in (0, 1, 3, 4)
    }
