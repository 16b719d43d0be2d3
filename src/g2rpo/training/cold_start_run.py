"""Runs the cold start, from the configuration to a checkpoint folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from g2rpo.data.loading import reader
from g2rpo.data.traces import Traces
from g2rpo.interfaces import Encoder
from g2rpo.policy.adapter import has_adapter
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_adapter, save_checkpoint
from g2rpo.policy.float32_attention import use_float32_attention
from g2rpo.training.checkpoint_io import use_own_checkpoints
from g2rpo.training.cold_start import (
    ColdStartModule,
    DemonstrationData,
    Demonstrations,
    Epochs,
    Stage,
)
from g2rpo.training.interrupt import StopOnSignal
from g2rpo.training.progress import Progress
from g2rpo.training.quiet import quieten
from g2rpo.training.resume import resume_checkpoint
from g2rpo.training.stopping import checkpoint_line, ended_by_signals
from g2rpo.training.trainer_flags import check_trainer_counts

log = logging.getLogger("g2rpo")
CORPUS_PROMPTS = 1000


def run_cold_start(cfg: DictConfig) -> Path:
    """Train through all stages, or on the records of `data`, and write the weights to `final/`.

    An adapter is merged there, and also saved by itself in `adapter/`.
    """
    quieten()
    folder = Path(cfg.run_dir)
    stop = StopOnSignal(folder=folder)
    with ended_by_signals(stop, folder, lambda stopped: [checkpoint_line(stopped)]):
        return _run(cfg, folder, stop)


def _run(cfg: DictConfig, folder: Path, stop: StopOnSignal) -> Path:
    check_trainer_counts(OmegaConf.to_container(cfg.trainer, resolve=True))
    checkpoint = resume_checkpoint(cfg.resume, folder)
    stages: list[Stage] = [instantiate(stage, _convert_="all") for stage in cfg.stages.values()]
    model = _model(cfg, folder, stages).computing_in(str(cfg.trainer.precision))
    if cfg.row_tokens > 1 and not model.family.shares_prefix:
        raise ValueError(
            f"row_tokens: expected 1 with model.path={model.path}, got {cfg.row_tokens}; its layers"
            " cannot read several sequences in one row"
        )
    encoder = model.encoder()
    demonstrations = Demonstrations(
        encoder=encoder,
        stages=[_records(cfg, encoder)] if _has_records(cfg) else stages,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
    )
    policy = model.policy()
    module = ColdStartModule(
        policy=policy,
        pad_token_id=encoder.pad_token_id,
        total_steps=len(demonstrations),
        lr=cfg.lr,
        weight_decay=cfg.weight_decay,
        warmup_steps=cfg.warmup_steps,
        decay_frac=cfg.decay_frac,
        row_tokens=cfg.row_tokens,
    )
    callbacks = [instantiate(cfg.checkpoint), Progress()]
    trainer: L.Trainer = instantiate(
        cfg.trainer, max_steps=len(demonstrations), callbacks=callbacks
    )
    trainer.callbacks.append(stop)  # Lightning has moved those that save checkpoints to the end
    if trainer.world_size > 1:
        raise ValueError(
            "trainer.devices: expected one process in a cold start, got"
            f" {trainer.world_size}: each would imitate the same demonstrations; set"
            " trainer.devices=1 trainer.num_nodes=1"
        )
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if model.compute_dtype != model.dtype and on_cpu and policy.config.model_type == "qwen3_vl":
        use_float32_attention(policy)
    use_own_checkpoints(trainer)
    trainer.fit(
        module,
        datamodule=DemonstrationData(demonstrations),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    save_checkpoint(policy, encoder, folder / "final", cfg.dtype)
    if has_adapter(policy):
        save_adapter(policy, folder / "adapter", base=model.path)
    log.info("checkpoint: %s", folder / "final")
    return folder / "final"


def _has_records(cfg: DictConfig) -> bool:
    return OmegaConf.select(cfg, "data") is not None


def _records(cfg: DictConfig, encoder: Encoder) -> Epochs:
    """Return one stage over the records of `data`."""
    if "format" not in cfg.data:
        raise ValueError(
            "data: expected a source of records with a completion, as data=jsonl or data=hub, got"
            f" {cfg.data._target_}; leave data out for the stages of the gym"
        )
    traces = Traces(format=instantiate(cfg.data.format, _convert_="all"))
    source = instantiate(cfg.data, format=traces, _convert_="all")
    stage = Epochs(
        source=source,
        demonstrations=traces,
        read=reader(source, encoder.fit),
        batch_size=cfg.batch_size,
        epochs=cfg.epochs,
    )
    log.info("%d records, %d steps of %d", len(stage.places), stage.steps, cfg.batch_size)
    return stage


def _model(cfg: DictConfig, folder: Path, stages: list[Stage]) -> Checkpoint:
    """Return the configured model, or random weights if `fresh` names a builder."""
    if cfg.fresh is None or _has_records(cfg):
        return instantiate(cfg.model, _convert_="all")
    if instantiate(cfg.model.adapter) is not None:
        raise ValueError(
            "model/adapter: an adapter needs trained base weights, and fresh makes random ones; add"
            " fresh=null"
        )
    if not (folder / "fresh" / "config.json").is_file():
        instantiate(cfg.fresh)(folder=folder / "fresh", corpus=_corpus(stages[-1]))
    return Checkpoint(path=str(folder / "fresh"))


def _corpus(stage: Stage) -> Iterator[str]:
    """Yield prompts and demonstrations to train a new tokenizer on."""
    for index in range(CORPUS_PROMPTS):
        for task in stage.tasks:
            prompt = stage.source.get(task, index, "train")
            yield prompt.text + "\n"
            yield stage.demonstrations.demonstrate(prompt)
