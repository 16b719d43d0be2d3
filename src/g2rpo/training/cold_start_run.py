"""Runs the cold start, from the configuration to a checkpoint folder."""

import logging
from collections.abc import Iterator
from pathlib import Path

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig

from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.export import save_checkpoint
from g2rpo.policy.float32_attention import use_float32_attention
from g2rpo.training.checkpoint_io import use_own_checkpoints
from g2rpo.training.cold_start import ColdStartModule, DemonstrationData, Demonstrations, Stage
from g2rpo.training.progress import Progress
from g2rpo.training.quiet import quieten
from g2rpo.training.resume import resume_checkpoint

log = logging.getLogger("g2rpo")
CORPUS_PROMPTS = 1000


def run_cold_start(cfg: DictConfig) -> Path:
    """Train through all stages and write the weights to `final/` in `cfg.dtype`."""
    quieten()
    folder = Path(cfg.run_dir)
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
        encoder=encoder, stages=stages, batch_size=cfg.batch_size, seed=cfg.seed
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
    if model.compute_dtype != model.dtype and trainer.strategy.root_device.type == "cpu":
        use_float32_attention(policy)
    use_own_checkpoints(trainer)
    trainer.fit(
        module,
        datamodule=DemonstrationData(demonstrations),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    save_checkpoint(policy, encoder, folder / "final", cfg.dtype)
    log.info("checkpoint: %s", folder / "final")
    return folder / "final"


def _model(cfg: DictConfig, folder: Path, stages: list[Stage]) -> Checkpoint:
    """Return the configured model, or random weights if `fresh` names a builder."""
    if cfg.fresh is None:
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
