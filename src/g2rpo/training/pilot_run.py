"""Runs `pilot.py`: measures the untrained policy and writes a shaping file with bands."""

import json
from collections.abc import Sequence
from dataclasses import replace
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
from g2rpo.interfaces import Encoder, PromptSource
from g2rpo.paths import command
from g2rpo.policy.stats import token_stats
from g2rpo.records import Prompt
from g2rpo.rollout.groups import score_rollouts
from g2rpo.training.display import progress_bar
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
    folder = Path(cfg.run_dir)
    parts.model.check_prefix(parts.algorithm.prefix)
    policy, encoder = parts.model.policy().to(device_of(cfg)), parts.model.encoder()
    parts.engine.start(policy, encoder)
    measured = {
        task: pilot.measure(_joined(pieces))
        for task, pieces in _answered_tasks(pilot, parts, policy, encoder).items()
    }
    console = Console(width=120, highlight=False)
    show_pilot(measured, console)
    origin = (
        f"{Path(parts.model.path).name}, {pilot.prompts_per_task} prompts a task,"
        f" {parts.algorithm.batch.group_size} completions each"
    )
    target = write_pilot(pilot, measured, origin, folder, conf)
    where = "" if conf else f" 'hydra.searchpath=[file://{folder.resolve()}]'"
    console.print(
        f"{target}\nnext: {command('train')} shaping={pilot.name}{where}, with the same model and"
        " data",
        soft_wrap=True,
        markup=False,
    )
    return sum(found.accuracy for found in measured.values()) / len(measured)


def _answered_tasks(
    pilot: Pilot, parts: Parts, policy: Any, encoder: Encoder
) -> dict[str, list[PilotTask]]:
    """Generate and score completions for `pilot.prompts_per_task` prompts of each task.

    Raises:
        ValueError: if a task has no usable prompt.
    """
    read = reader(parts.source, encoder.fit)
    batch = parts.algorithm.batch
    size = batch.micro_batch_prompts or batch.prompts_per_step
    prompts = {
        task: _prompts(parts.source, task, pilot.prompts_per_task) for task in parts.mix.shares
    }
    answered = {}
    with progress_bar("pilot prompts", total=sum(len(own) for own in prompts.values())) as advance:
        for task, own in prompts.items():
            pieces = []
            for start in range(0, len(own), size):
                chunk = own[start : start + size]
                if usable := read(chunk):
                    pieces.append(_answered(parts, policy, encoder, usable, start))
                advance(len(chunk))
            if not pieces:
                raise ValueError(
                    f"data: none of the first {len(own)} prompts of {task} can be used"
                )
            answered[task] = pieces
    return answered


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
    parts: Parts, policy: Any, encoder: Encoder, prompts: Sequence[Prompt], start: int
) -> PilotTask:
    """Generate, score and measure completions; `start` is the number of the first prompt."""
    algorithm = parts.algorithm
    sampling = parts.engine.sampling.with_group_size(algorithm.batch.group_size)
    batch = encoder.encode(prompts).to(policy.device)
    batch = replace(batch, position=batch.position + start)
    rollouts = parts.engine.generate(batch, sampling, algorithm.seed)
    scores = score_rollouts(parts.reward, prompts, rollouts, algorithm.failure_budget).scores
    stats = token_stats(
        policy,
        batch,
        rollouts.completion_ids,
        rollouts.completion_mask,
        forbidden=tuple(encoder.forbidden_token_ids),
        temperature=sampling.temperature,
        prefix=algorithm.prefix,
    )
    return PilotTask(
        tokens=rollouts.completion_mask.sum(1).cpu(),
        entropy_sum=stats.entropy.where(rollouts.completion_mask, 0.0).sum(1).cpu(),
        accuracy=scores.accuracy.cpu(),
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
