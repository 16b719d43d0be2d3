"""Runs `pilot.py`: measures the untrained policy and writes a shaping file with bands."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from g2rpo.algorithm.shaping.pilot import Measured, Pilot, PilotTask, plain
from g2rpo.data.loading import reader
from g2rpo.files import write_whole
from g2rpo.interfaces import Encoder, PromptSource, Reward, RolloutEngine
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt, Sampling
from g2rpo.rollout.score import score_rollouts
from g2rpo.training.display import progress_bar
from g2rpo.training.heldout import Read
from g2rpo.training.parts import Parts, build_parts, device_of
from g2rpo.training.quiet import quieten


def measure_bands(cfg: DictConfig, conf: Path | None) -> float:
    """Run the pilot, print and write its results, and return the mean accuracy over tasks.

    Args:
        cfg: The composed configuration.
        conf: Folder whose `shaping/` gets a copy of the shaping file; None leaves it in the run
            folder.
    """
    quieten()
    pilot: Pilot = instantiate(cfg.pilot)
    with build_parts(cfg).started() as parts:
        return _measured(cfg, parts, pilot, conf)


def _measured(cfg: DictConfig, parts: Parts, pilot: Pilot, conf: Path | None) -> float:
    folder, device = Path(cfg.run_dir), device_of(cfg)
    policy, encoder = parts.model.policy().to(device), parts.model.encoder()
    parts.engine.start(policy, encoder)
    measured = run_pilot(
        pilot,
        policy=policy,
        encoder=encoder,
        engine=parts.engine,
        source=parts.source,
        reward=parts.reward,
        prefix=parts.algorithm.prefix,
        tasks=tuple(parts.mix.shares),
        sampling=parts.engine.sampling.with_group_size(parts.algorithm.batch.group_size),
        batch_prompts=parts.algorithm.batch.micro_batch_prompts
        or parts.algorithm.batch.prompts_per_step,
        failure_budget=cfg.reward_failures,
        seed=cfg.seed,
        device=device,
        read=reader(parts.source, encoder.fit),
    )
    console = Console(width=120, highlight=False)
    show_pilot(measured, console)
    origin = (
        f"{Path(parts.model.path).name}, {pilot.prompts_per_task} prompts a task,"
        f" {parts.algorithm.batch.group_size} completions each"
    )
    target = write_pilot(pilot, measured, origin, folder, conf)
    where = "" if conf else f" 'hydra.searchpath=[file://{folder.resolve()}]'"
    console.print(
        f"{target}\nnext: python train.py shaping={pilot.name}{where}, with the same model and"
        " data",
        soft_wrap=True,
        markup=False,
    )
    return sum(found.accuracy for found in measured.values()) / len(measured)


def run_pilot(
    pilot: Pilot,
    *,
    policy: Any,
    encoder: Encoder,
    engine: RolloutEngine,
    source: PromptSource,
    reward: Reward,
    tasks: Sequence[str],
    sampling: Sampling,
    batch_prompts: int,
    failure_budget: float,
    seed: int,
    device: torch.device,
    read: Read = list,
    prefix: str = "shared",
) -> dict[str, Measured]:
    """Generate and measure completions for `pilot.prompts_per_task` prompts of each task.

    Args:
        engine: Generates completions; it has been started on `policy`, which is on `device`.
        sampling: Sampling settings of the training, group size included.
        batch_prompts: Number of prompts in a batch.
        failure_budget: Largest share in [0, 1] of completions that the reward may fail to score.
        read: Loads the images of a batch and leaves out prompts that cannot be used.
        prefix: `policy.prefix`: `shared` or `repeated`.

    Raises:
        ValueError: if a task has no usable prompt.
    """
    prompts = {task: _prompts(source, task, pilot.prompts_per_task) for task in tasks}
    measured = {}
    with progress_bar("pilot prompts", total=sum(len(own) for own in prompts.values())) as advance:
        for task, own in prompts.items():
            pieces = []
            for start in range(0, len(own), batch_prompts):
                chunk = own[start : start + batch_prompts]
                if usable := read(chunk):
                    pieces.append(
                        _answered(
                            usable,
                            start,
                            policy,
                            encoder,
                            engine,
                            reward,
                            sampling,
                            failure_budget,
                            seed,
                            device,
                            prefix,
                        )
                    )
                advance(len(chunk))
            if not pieces:
                raise ValueError(
                    f"data: none of the first {len(own)} prompts of {task} can be used"
                )
            measured[task] = pilot.measure(_joined(pieces))
    return measured


def _prompts(source: PromptSource, task: str, count: int) -> list[Prompt]:
    size = source.size(task, "train")
    if size == 0:
        raise ValueError(
            f"task_mix: the data source has no training prompt for {task!r}; set"
            f" task_mix.weights.{task}=0"
        )
    return [
        source.get(task, index, "train")
        for index in range(count if size is None else min(count, size))
    ]


@torch.no_grad()
def _answered(
    prompts: Sequence[Prompt],
    start: int,
    policy: Any,
    encoder: Encoder,
    engine: RolloutEngine,
    reward: Reward,
    sampling: Sampling,
    failure_budget: float,
    seed: int,
    device: torch.device,
    prefix: str,
) -> PilotTask:
    batch = encoder.encode(prompts).to(device)
    rollouts = engine.generate(batch, sampling, (seed << 24) + start)
    scores = score_rollouts(reward, prompts, rollouts, failure_budget).scores
    stats = token_stats(
        policy,
        batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=tuple(encoder.forbidden_token_ids),
        temperature=sampling.temperature,
        prefix=prefix,
    )
    return PilotTask(
        tokens=rollouts.completion_mask.sum(1).cpu(),
        entropy_sum=stats.entropy.where(rollouts.completion_mask, 0.0).sum(1).cpu(),
        accuracy=scores.parts["accuracy"].cpu(),
        total=scores.total.cpu(),
        group=rollouts.prompt.cpu() + start,
        truncated=int((~rollouts.finished).sum()),
    )


def _joined(pieces: Sequence[PilotTask]) -> PilotTask:
    columns = {
        name: torch.cat([getattr(piece, name) for piece in pieces])
        for name in ("tokens", "entropy_sum", "accuracy", "total", "group")
    }
    return PilotTask(**columns, truncated=sum(piece.truncated for piece in pieces))


def write_pilot(
    pilot: Pilot, measured: dict[str, Measured], origin: str, folder: Path, conf: Path | None
) -> Path:
    """Write the shaping file to the run folder and to `conf`, then `pilot.json`.

    A file that is replaced in `conf` is kept in the run folder.

    Returns:
        The path of the shaping file to choose in training.
    """
    text = pilot.yaml(measured, origin)
    own = folder / "shaping" / f"{pilot.name}.yaml"
    write_whole(own, text)
    target = own if conf is None else conf / "shaping" / own.name
    if target != own:
        if target.exists():
            (folder / f"{pilot.name}.replaced.yaml").write_bytes(target.read_bytes())
        write_whole(target, text)
    write_whole(folder / "pilot.json", json.dumps(plain(measured), indent=2) + "\n")
    return target


def show_pilot(measured: dict[str, Measured], console: Console) -> None:
    """Print a table with one line per task."""
    table = Table(title="Pilot", title_justify="left", box=None)
    columns = (
        "task",
        "accuracy",
        "reward",
        "agree",
        "tokens",
        "cut",
        "nats/token",
        "length band",
        "entropy band",
    )
    for name in columns:
        table.add_column(
            name, justify="left" if name in ("task", "reward") else "right", no_wrap=True
        )
    for task, m in measured.items():
        table.add_row(
            task,
            f"{m.accuracy:.2f}",
            m.topology,
            f"{m.zero_signal_frac:.0%}",
            "{}-{}-{}".format(*m.tokens[1:4]),
            f"{m.truncated_frac:.0%}",
            f"{m.entropy_nats:.2f}",
            " ".join(map(str, m.length_band)),
            "{:.2f} {:.2f}".format(*m.entropy_band),
        )
    console.print(table)
    console.print(
        "agree: groups whose rewards all agree. tokens: quartiles. cut: completions that reached"
        " rollout.max_new_tokens."
    )
