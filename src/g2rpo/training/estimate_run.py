"""Estimates memory and seconds of a run: for `estimate.py`, and at the start of every run."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import OwnWeights
from g2rpo.policy.checkpoint import DTYPES
from g2rpo.policy.head import piece_bytes
from g2rpo.records import Prompt
from g2rpo.rollout.collect import MOST_AT_ONCE
from g2rpo.training.disk_space import warn_if_full
from g2rpo.training.estimate.assumptions import Assumptions
from g2rpo.training.estimate.changes import Setup
from g2rpo.training.estimate.machine import machine
from g2rpo.training.estimate.shape import blank_policy, optimizer_bytes, shape_of
from g2rpo.training.estimate.total import Estimate, estimate, show
from g2rpo.training.estimate.workload import (
    Lengths,
    Workload,
    bounded_lengths,
    given_lengths,
    micro_batch,
    sampled_lengths,
)
from g2rpo.training.parts import Parts, build_parts
from g2rpo.training.quiet import quieten

log = logging.getLogger("g2rpo")
LOOKED_AT = 24
"""Number of prompts from which the lengths of the data are estimated."""


class NoPrompts:
    """Stands in for data that cannot be read, and says why when a prompt is asked for."""

    def __init__(self, *, why: str) -> None:
        self.why = why

    def size(self, task: str, split: str) -> int | None:
        """Return None: the number of prompts is not known."""
        return None

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Raise `ValueError` with the reason."""
        raise ValueError(self.why)


def run_estimate(cfg: DictConfig) -> Estimate:
    """Print what a run would need and write it to `estimate.json`, without loading weights."""
    quieten()
    if "on_error" in cfg.data:
        cfg.data.on_error = "skip"
    parts = build_parts(cfg, source=_source(cfg))
    found = estimated(
        cfg,
        parts,
        lambda: PromptStream(source=parts.source, mix=parts.mix, seed=cfg.seed).peek(LOOKED_AT),
    )
    found.write(Path(cfg.run_dir))
    show(found, Console(highlight=False))
    return found


def write_estimate(
    cfg: DictConfig, parts: Parts, stream: PromptStream, folder: Path, trainer: L.Trainer
) -> None:
    """Write `estimate.json` at the start of a run; warn if its checkpoints do not fit the disk.

    If the model cannot be estimated, the log says so and the run continues.
    """
    try:
        found = estimated(cfg, parts, lambda: stream.peek(LOOKED_AT))
    except Exception as error:  # noqa: BLE001  an error on the meta device must not end a run
        log.warning("no estimate of memory and time: %s: %s", type(error).__name__, error)
        return
    found.write(folder)
    log.info("estimate: %s", found.verdict())
    warn_if_full(
        folder,
        trainer.callbacks,  # type: ignore[attr-defined]
        trainer.max_steps,
        checkpoint_bytes=found.checkpoint_bytes,
        export_bytes=found.export_bytes,
    )


def estimated(cfg: DictConfig, parts: Parts, peek: Callable[[], Sequence[Prompt]]) -> Estimate:
    """Estimate a composed run; `peek` returns some of the prompts that it would begin with."""
    given = OmegaConf.select(cfg, "estimate")  # a key of estimate.py only
    assumed = Assumptions.read(
        None if given is None else OmegaConf.to_container(given, resolve=True)
    )
    policy = blank_policy(parts.model)
    shape = shape_of(policy, DTYPES[parts.model.compute_dtype])
    lengths = given_lengths(assumed, shape.merge) or _looked_at(cfg, parts, peek, shape.patch_px)
    processes, accelerator = processes_of(cfg.trainer), OmegaConf.select(cfg, "trainer.accelerator")
    device = machine(
        assumed,
        DTYPES[parts.model.compute_dtype],
        piece_bytes,
        processes=processes,
        cpu=accelerator == "cpu",
    )
    state, copies = optimizer_bytes(parts.algorithm.optimizer, policy)
    load = workload_of(parts, lengths, processes)
    nodes = int(OmegaConf.select(cfg.trainer, "num_nodes") or 1)
    setup = Setup(
        shape=shape,
        load=replace(
            load,
            shards=shards_of(cfg.trainer, processes, nodes),
            nodes=nodes,
            across_nodes=bool(
                OmegaConf.select(cfg, "trainer.strategy.across_nodes")
                if OmegaConf.is_config(cfg.trainer.get("strategy"))
                else False
            ),
        ),
        device=device,
        state=state,
        copies=copies,
        processes=processes,
    )
    return estimate(setup, assumed.completion_tokens, partial(_value, cfg))


def shards_of(trainer: DictConfig, processes: int, nodes: int) -> int:
    """Return the number of processes over which `trainer` spreads the weights: those of a node,
    unless `trainer.strategy.across_nodes` is set.
    """
    strategy: Any = OmegaConf.select(trainer, "strategy")
    target = OmegaConf.select(strategy, "_target_") if isinstance(strategy, DictConfig) else ""
    if not str(target).endswith("ShardedStrategy"):
        return 1
    return processes if OmegaConf.select(strategy, "across_nodes") else processes // nodes


def _value(cfg: DictConfig, key: str) -> Any:
    """Return the value of a key; raises `KeyError` if there is none of this name."""
    node, _, name = key.rpartition(".")
    if name not in (OmegaConf.select(cfg, node) or {}):
        raise KeyError(key)
    return OmegaConf.select(cfg, key)


def workload_of(parts: Parts, lengths: Lengths, processes: int) -> Workload:
    """Return the work of one of `processes` in a step."""
    batch, engine, loss = parts.algorithm.batch, parts.engine, parts.algorithm.loss
    sizes = max(batch.group_sizes(parts.algorithm.tasks).values())
    completion = engine.sampling.max_new_tokens
    prompts = -(-batch.prompts_per_step // processes)
    updates = min(batch.num_minibatches, prompts)
    together, row = micro_batch(prompts, batch, sizes, lengths.longest, completion)
    band = getattr(parts.algorithm.shaping, "entropy", None) is not None and together < -(
        -prompts // updates
    )
    own = isinstance(engine, OwnWeights)
    # a share of the trainer's own GPU; a server uses none of it
    settings = getattr(engine, "settings", None)
    inside = float(getattr(settings, "gpu_memory_utilization", 0.0))
    redraws = parts.algorithm.group_filter.max_draws > 1
    return Workload(
        prompts=prompts,
        group_size=sizes,
        completion=completion,
        lengths=lengths,
        updates=updates,
        micro_batch_prompts=together,
        micro_batch_tokens=batch.micro_batch_tokens,
        row_completions=row,
        shared=parts.algorithm.prefix != "repeated",
        checkpointing=parts.model.gradient_checkpointing,
        reference=bool(loss.kl_coef),
        task_gradients=len(parts.algorithm.tasks) if parts.algorithm.gradient.by_task else 1,
        extra_passes=bool(loss.kl_coef) + parts.algorithm.corrects_sampler + band,
        redraws=redraws,
        at_once=MOST_AT_ONCE if redraws and processes == 1 else 1.0,
        sampled_here=not own,
        engine_frac=inside,
        engine_stays=bool(inside) and not getattr(settings, "sleep", False),
        engine_devices=getattr(settings, "tensor_parallel_size", 1),
        concurrency=getattr(settings, "max_num_seqs", None),
    )


def processes_of(trainer: DictConfig) -> int:
    """Return the number of processes that `trainer` would start: one per device on each node."""
    devices: Any = OmegaConf.select(trainer, "devices", default="auto")
    if devices in ("auto", -1, "-1"):
        here = torch.cuda.device_count() if OmegaConf.select(trainer, "accelerator") != "cpu" else 0
        count = max(1, here)
    elif isinstance(devices, str):
        count = len(devices.split(",")) if "," in devices else int(devices)
    else:
        count = devices if isinstance(devices, int) else len(devices)
    return count * int(OmegaConf.select(trainer, "num_nodes") or 1)


def _source(cfg: DictConfig) -> Any:
    """Build the data, or `NoPrompts` if it is not on this machine."""
    try:
        return instantiate(cfg.data, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, ValueError | OSError):
            raise
        return NoPrompts(why=str(error.__cause__).splitlines()[0])


def _looked_at(
    cfg: DictConfig, parts: Parts, peek: Callable[[], Sequence[Prompt]], patch_px: int
) -> Lengths:
    """Measure prompt lengths, or take the bounds in the settings if no prompt can be read."""
    try:
        return sampled_lengths(peek(), parts.model.encoder(), parts.source)
    except (ValueError, OSError) as error:
        most = OmegaConf.select(cfg, "data.loading.max_prompt_tokens")
        return bounded_lengths(
            most, parts.model.max_pixels, patch_px, str(error).strip().splitlines()[0]
        )
