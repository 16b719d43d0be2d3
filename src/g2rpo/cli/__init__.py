"""The programs: what `train.py` and its neighbors do, and how their errors reach a person.

Each script at the root of the repository is a `@program(...)` over `conf/` and calls the function
of its name below with the composed configuration. `g2rpo <program>` (`command.py`) runs the same
scripts, also from an installed package. `helptext.py` writes `--help`, `checks.py`, `keys.py` and
`value_types.py` refuse invalid input, and `errors.py` turns an error into one sentence.

Nothing heavy is imported before a function is called, so `--help`, a typing error and the first
lines of a run take about a second.
"""

import math
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from g2rpo.cli.checks import checked
from g2rpo.cli.ending import say_scores
from g2rpo.cli.start import program
from g2rpo.launch.meeting import is_first
from g2rpo.paths import CONF, ROOT_CONF

__all__ = [
    "CONF",
    "cold_start",
    "estimate",
    "evaluate",
    "pilot",
    "preview",
    "program",
    "rescore",
    "train",
]


def train(cfg: DictConfig) -> float:
    """Train, evaluate before and after, and write report and summary.

    Return the held-out macro score, which a sweep maximizes. With
    `trainer.limit_train_batches=0` the checkpoint is scored and not trained.
    """
    with checked(cfg, counted=True):
        if OmegaConf.select(cfg, "trainer.limit_train_batches") == 0:
            return _score(cfg)
        from g2rpo.report.run_page import write_report
        from g2rpo.training.run import run_training

        score = run_training(cfg, write_report=write_report)
        if is_first():
            say_scores(Path(cfg.run_dir))
        return score


def _score(cfg: DictConfig) -> float:
    """Evaluate the checkpoint without training and write a report, for one row of a sweep."""
    from g2rpo.report.run_page import write_report
    from g2rpo.training.evaluation_run import run_evaluation

    score = run_evaluation(cfg)
    write_report(Path(cfg.run_dir))
    return score


def evaluate(cfg: DictConfig) -> float:
    """Score a checkpoint on benchmarks and held-out prompts. Return the mean score."""
    with checked(cfg):
        from g2rpo.training.evaluation_run import run_evaluation

        return run_evaluation(cfg)


def rescore(cfg: DictConfig) -> float:
    """Judge saved predictions again. Return the mean over benchmarks. Load no weights."""
    with checked(cfg):
        from g2rpo.training.evaluation_run import run_rescore

        return run_rescore(cfg)


def preview(cfg: DictConfig) -> float:
    """Show the first prompts of training, and list broken records. Load no weights."""
    with checked(cfg):
        from g2rpo.data.stream import PromptStream
        from g2rpo.report.preview import Preview
        from g2rpo.training.parts import build_parts
        from g2rpo.training.quiet import quieten

        quieten()
        page = Preview(prompts=cfg.prompts)
        if "on_error" in cfg.data:
            cfg.data.on_error = "skip"
        parts = build_parts(cfg)
        stream = PromptStream(source=parts.source, mix=parts.mix, seed=cfg.seed)
        page.write(
            Path(cfg.run_dir),
            source=parts.source,
            tasks=tuple(parts.mix.shares),
            next_of=stream.next_of,
            seed=cfg.seed,
            encoder=parts.model.encoder(),
            reward=parts.reward,
        )
        return math.nan


def estimate(cfg: DictConfig) -> float:
    """Print the memory and the seconds a step of this run would need. Read no weights."""
    with checked(cfg):
        from g2rpo.training.estimate_run import run_estimate

        run_estimate(cfg)
        return math.nan


def pilot(cfg: DictConfig) -> float:
    """Measure lengths and entropies of the untrained policy and write a shaping file.

    Return the mean accuracy.
    """
    with checked(cfg):
        from g2rpo.training.pilot_run import measure_bands

        return measure_bands(cfg, ROOT_CONF if ROOT_CONF.is_dir() else None)


def cold_start(cfg: DictConfig) -> None:
    """Fine-tune on demonstrations and write a checkpoint folder."""
    with checked(cfg):
        from g2rpo.training.cold_start_run import run_cold_start

        run_cold_start(cfg)
