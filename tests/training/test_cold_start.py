"""Imitation: the same demonstrations for the same step whatever happened before, and a loss that
falls.
"""

import copy
import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from fakes import Shelf
from lightning.pytorch.loggers import CSVLogger

from g2rpo.data.gym.source import GymSource
from g2rpo.data.gym.styles import StyledSolutions
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.policy.packing import supervised_batch, target_logprobs
from g2rpo.records import Prompt
from g2rpo.training.cold_start import (
    ColdStartModule,
    DemonstrationData,
    Demonstrations,
    Epochs,
    Stage,
)
from g2rpo.training.cold_start_run import run_cold_start
from g2rpo.training.quiet import quieten

TRACES = [
    {"text": f"how many dots are {number}?", "completion": f"<answer>{number}</answer>"}
    | ({"task": "counting"} if number % 2 else {})
    for number in range(11)
]
LOOK = StyledSolutions(shares={"look": 1.0})


class Pair:
    """Two prompts of each task, no more."""

    def size(self, task: str, split: str) -> int | None:
        return 2

    def get(self, task: str, index: int, split: str) -> Prompt:
        if index >= 2:
            raise IndexError(index)
        return GymSource(levels=[0]).get(task, index, split)


def stages(first: int = 2, second: int = 3) -> list[Stage]:
    return [
        Stage(
            steps=first,
            source=GymSource(levels=[0]),
            tasks={"general_vqa": 1.0},
            demonstrations=LOOK,
        ),
        Stage(
            steps=second, source=GymSource(), tasks={"math": 1.0, "chart": 3.0}, demonstrations=LOOK
        ),
    ]


def demonstrations(
    encoder: QwenEncoder, plan: Sequence[Stage], *, batch_size: int = 4, seed: int = 0
) -> Demonstrations:
    return Demonstrations(encoder=encoder, stages=plan, batch_size=batch_size, seed=seed)


@pytest.fixture
def trained(policy: Any, encoder: QwenEncoder, tmp_path: Path) -> Callable[..., Any]:
    """Trains a copy of the policy through the stages, from a checkpoint if one is given; returns it
    with its trainer.
    """
    quieten()

    def fit(
        plan: Sequence[Stage],
        *,
        steps: int | None = None,
        checkpoint: Path | None = None,
        lr: float = 3e-3,
    ) -> tuple[Any, L.Trainer]:
        own, data = copy.deepcopy(policy), demonstrations(encoder, plan)
        module = ColdStartModule(
            policy=own,
            pad_token_id=encoder.pad_token_id,
            total_steps=len(data),
            lr=lr,
            weight_decay=0.01,
            warmup_steps=1,
            decay_frac=0.5,
            row_tokens=256,
        )
        trainer = L.Trainer(
            max_steps=steps or len(data),
            accelerator="cpu",
            logger=CSVLogger(tmp_path / "log"),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            gradient_clip_val=1.0,
            default_root_dir=tmp_path,
        )
        trainer.fit(
            module, datamodule=DemonstrationData(data), ckpt_path=checkpoint, weights_only=False
        )
        return own, trainer

    return fit


def test_stages_follow_one_another_with_their_own_tasks(encoder: QwenEncoder) -> None:
    tasks = [
        {prompt.task for prompt in batch.prompts}
        for batch, _ in demonstrations(encoder, stages(), batch_size=8)
    ]
    assert len(tasks) == 5
    assert tasks[:2] == [{"general_vqa"}] * 2
    assert set().union(*tasks[2:]) == {"math", "chart"}


def test_a_batch_is_a_function_of_its_number(encoder: QwenEncoder) -> None:
    whole = [
        [prompt.id for prompt in batch.prompts] for batch, _ in demonstrations(encoder, stages())
    ]
    late = demonstrations(encoder, stages())
    late.start = 3
    assert [[prompt.id for prompt in batch.prompts] for batch, _ in late] == whole[3:]
    other = [
        [prompt.id for prompt in batch.prompts]
        for batch, _ in demonstrations(encoder, stages(), seed=1)
    ]
    assert other[2:] != whole[2:]


def test_an_endless_source_never_repeats_and_a_finite_one_is_never_left(
    encoder: QwenEncoder,
) -> None:
    served = [
        prompt.id for batch, _ in demonstrations(encoder, stages(4, 4)) for prompt in batch.prompts
    ]
    assert len(set(served)) == len(served) == 32
    pair = [Stage(steps=4, source=Pair(), tasks={"math": 1.0}, demonstrations=LOOK)]
    assert {
        prompt.id for batch, _ in demonstrations(encoder, pair) for prompt in batch.prompts
    } == {"gym/train/math/0", "gym/train/math/1"}


def test_a_completion_is_the_demonstration_with_an_end_token(encoder: QwenEncoder) -> None:
    batch, completions = next(iter(demonstrations(encoder, stages())))
    assert completions[2][-1] == encoder.eos_token_id
    assert encoder.tokenizer.decode(completions[2][:-1]) == LOOK.demonstrate(batch.prompts[2])


def test_the_loss_falls_on_a_pair_of_prompts_within_a_few_steps(
    trained: Any, encoder: QwenEncoder, policy: Any
) -> None:
    plan = [Stage(steps=12, source=Pair(), tasks={"general_vqa": 1.0}, demonstrations=LOOK)]
    batch, completions = next(iter(demonstrations(encoder, plan)))
    after, _ = trained(plan)

    @torch.no_grad()
    def loss(model: Any) -> float:
        return (
            -target_logprobs(
                model, supervised_batch(model, batch, completions, encoder.pad_token_id, 1)
            )
            .mean()
            .item()
        )

    assert loss(policy) > 5
    assert loss(after) < 0.6 * loss(policy)


def test_a_resumed_cold_start_ends_with_the_weights_of_the_unbroken_one(
    trained: Any, tmp_path: Path
) -> None:
    unbroken, _ = trained(stages())
    _, killed = trained(stages(), steps=3)
    killed.save_checkpoint(tmp_path / "three.ckpt")
    resumed, trainer = trained(stages(), checkpoint=tmp_path / "three.ckpt")
    assert trainer.global_step == 5
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_is_logged_for_each_task_of_a_batch(
    trained: Any, encoder: QwenEncoder, policy: Any
) -> None:
    plan = [
        Stage(steps=1, source=GymSource(), tasks={"math": 1.0, "chart": 1.0}, demonstrations=LOOK)
    ]
    (batch, completions), *_ = demonstrations(encoder, plan)
    assert {prompt.task for prompt in batch.prompts} == {"math", "chart"}
    _, trainer = trained(plan)
    sums = {"math": [0.0, 0], "chart": [0.0, 0]}
    with torch.no_grad():
        for i, prompt in enumerate(batch.prompts):  # one at a time, which needs no packing
            alone = supervised_batch(
                policy, encoder.encode([prompt]), [completions[i]], encoder.pad_token_id, 1
            )
            logprobs = target_logprobs(policy, alone)
            sums[prompt.task][0] -= logprobs.sum().item()
            sums[prompt.task][1] += len(logprobs)
    assert {
        name: trainer.callback_metrics[f"loss/task_nats_per_token/{name}"].item() for name in sums
    } == pytest.approx({name: total / count for name, (total, count) in sums.items()}, rel=1e-4)
    all_tokens = sum(total for total, _ in sums.values()) / sum(count for _, count in sums.values())
    assert trainer.callback_metrics["loss/nats_per_token"].item() == pytest.approx(
        all_tokens, rel=1e-4
    )


def test_the_learning_rate_warms_up_stays_and_falls_to_a_tenth(policy: Any) -> None:
    module = ColdStartModule(
        policy=policy,
        pad_token_id=0,
        total_steps=100,
        lr=1.0,
        weight_decay=0.0,
        warmup_steps=4,
        decay_frac=0.4,
        row_tokens=1,
    )
    scheduler = module.configure_optimizers()["lr_scheduler"]["scheduler"]
    scale = scheduler.lr_lambdas[0]
    assert [scale(step) for step in (0, 1, 3, 4, 59)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert [scale(step) for step in (70, 80, 98)] == pytest.approx([0.75, 0.5, 0.1])


def test_a_loss_that_is_not_finite_stops_the_cold_start_with_its_step(trained: Any) -> None:
    with pytest.raises(
        RuntimeError, match=r"cold start: loss became (nan|inf) at step [123]; lower lr"
    ):
        trained(stages(), lr=1e30)


@pytest.mark.parametrize(
    ("steps", "tasks", "message"),
    [
        (0, {"math": 1.0}, r"stages\.steps: expected at least 1, got 0"),
        (1, {"maths": 1.0}, r"stages\.tasks: .* which has no prompt of maths"),
        (1, {"math": 0.0}, r"stages\.tasks: expected weights >= 0 with a positive sum"),
        (1, {"math": 2.0, "chart": -1.0}, r"stages\.tasks: expected weights >= 0"),
        (1, {}, r"stages\.tasks"),
    ],
)
def test_a_stage_that_cannot_be_drawn_from_is_refused(
    steps: int, tasks: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Stage(steps=steps, source=GymSource(), tasks=tasks, demonstrations=LOOK)


def test_random_weights_are_no_base_for_an_adapter(
    composed: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=(r"model/adapter: an adapter needs trained base weights, .*; add fresh=null"),
    ):
        run_cold_start(composed("model/adapter=lora", f"run_dir={tmp_path}", config="cold_start"))


def test_a_whole_cold_start_writes_a_checkpoint_that_loads(
    composed: Callable[..., Any],
    tiny_folder: Path,
    tmp_path: Path,
    prompts_of: Callable[..., list[Prompt]],
) -> None:
    cfg = composed(
        "fresh=null",
        "model=folder",
        f"model.path={tiny_folder}",
        f"run_dir={tmp_path}",
        "batch_size=2",
        config="cold_start",
    )
    first = next(iter(cfg.stages))
    cfg.stages = {first: {**cfg.stages[first], "steps": 2}}
    final = run_cold_start(cfg)
    checkpoint = Checkpoint(path=str(final))
    trained, start = (
        checkpoint.policy().state_dict(),
        Checkpoint(path=str(tiny_folder)).policy().state_dict(),
    )
    assert any(not torch.equal(value, start[name]) for name, value in trained.items())
    assert checkpoint.encoder().encode(prompts_of("math")).input_ids.shape[0] == 1
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert "loss/nats_per_token" in csv.DictReader(file).fieldnames


@pytest.fixture
def run(composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """`run("epochs=2", folder="run")`: imitates eleven records, one of them held out."""
    (tmp_path / "traces.jsonl").write_text("\n".join(map(json.dumps, TRACES)))

    def begin(*options: str, folder: str = "run") -> Path:
        run_cold_start(
            composed(
                "data=jsonl",
                f"data.files={tmp_path / 'traces.jsonl'}",
                f"data.root={tmp_path}",
                "data.heldout=0",
                "model=folder",
                f"model.path={tiny_folder}",
                "batch_size=4",
                "warmup_steps=1",
                "trainer.accelerator=cpu",
                "checkpoint.every_n_train_steps=1",
                "+checkpoint.save_top_k=-1",
                f"run_dir={tmp_path / folder}",
                *options,
                config="cold_start",
            )
        )
        return tmp_path / folder

    return begin


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(Checkpoint(path=str(folder / "final")).policy().named_parameters())


def test_records_are_imitated_once_an_epoch_in_a_new_order() -> None:
    stage = Epochs(source=Shelf(a=3, b=4), demonstrations=LOOK, read=list, batch_size=4, epochs=2)
    assert stage.steps == 4
    ids = [prompt.id for step in range(4) for prompt in stage.draw(step, 4, 0)]
    assert len(ids) == 14
    assert set(ids[:7]) == set(ids[7:]) == {prompt.id for prompt in stage.draw(0, 7, 0)}
    assert ids[:7] != ids[7:]
    assert [prompt.id for prompt in stage.draw(2, 4, 0)] == ids[8:12]


def test_a_stream_without_end_has_no_epochs() -> None:
    with pytest.raises(ValueError, match=r"^data: expected records whose number is known"):
        Epochs(source=GymSource(), demonstrations=LOOK, read=list, batch_size=4, epochs=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("adapter", [False, True])
def test_a_cold_start_on_records_learns_them_and_resumes_where_it_was(
    run: Callable[..., Path], tmp_path: Path, adapter: bool
) -> None:
    lora = ("model/adapter=lora", "model.adapter.rank=4", "lr=0.02") if adapter else ("lr=0.003",)
    whole = run(*lora, "epochs=4")
    with (whole / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {f"loss/task_nats_per_token/{task}" for task in ("counting", "traces")} < set(rows[0])
    losses = [float(row["loss/nats_per_token"]) for row in rows]
    assert losses[-1] < losses[0] - 0.5
    assert (whole / "adapter" / "adapter_config.json").exists() == adapter

    cut = tmp_path / "cut"
    (cut / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "checkpoints" / "epoch=0-step=5.ckpt", cut / "checkpoints" / "last.ckpt")
    shutil.copy(whole / "metrics.csv", cut)  # as if it had been killed later
    run(*lora, "epochs=4", f"resume={cut}", folder="cut")
    with (cut / "metrics.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows
    for name, value in weights(cut).items():
        assert torch.equal(value, weights(whole)[name]), name


def test_several_processes_would_imitate_the_same_and_are_refused(run: Callable[..., Path]) -> None:
    with pytest.raises(
        ValueError, match=r"^trainer\.devices: expected one process .*, got 2: each"
    ):
        run("epochs=1", "trainer.devices=2")


def test_data_without_records_is_refused(
    composed: Callable[..., Any], tmp_path: Path, tiny_folder: Path
) -> None:
    options = ("data=gym", "model=folder", f"model.path={tiny_folder}", f"run_dir={tmp_path}")
    with pytest.raises(ValueError, match=r"^data: expected a source of records .* got .*GymSource"):
        run_cold_start(composed(*options, config="cold_start"))
