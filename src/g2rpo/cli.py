"""What the three scripts at the root call. Heavy imports wait until Hydra has answered: `--help` takes a second."""

import logging
import math
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from g2rpo.training.run_folder import run_folder
from hydra_plugins.g2rpo_launcher import store_launchers

ROOT_CONF = Path(__file__).parents[2] / "conf"
CONF = str(ROOT_CONF if ROOT_CONF.is_dir() else Path(__file__).parent / "conf")
"""The configuration folder: at the repository's root, or inside an installed package."""
store_launchers()
OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)


def train(cfg: DictConfig) -> float:
    """Trains, evaluates before and after, writes report and summary. Returns the held-out macro score: what a sweep maximises.

    With `preview` it shows the first prompts instead, with `estimate` what a run would need, and returns nan; with
    `trainer.limit_train_batches=0` it scores and trains nothing.
    """
    with explained(Path(cfg.run_dir)):
        if cfg.preview is not None:
            return _preview(cfg)
        if cfg.estimate is not None and cfg.estimate is not False:
            from g2rpo.training.estimate_run import run_estimate

            run_estimate(cfg)
            return math.nan
        if OmegaConf.select(cfg, "trainer.limit_train_batches") == 0:
            return _score(cfg)
        from g2rpo.report.run import write_report
        from g2rpo.training.run import run_training

        return run_training(cfg, write_report=write_report, conf=ROOT_CONF if ROOT_CONF.is_dir() else None)


def _preview(cfg: DictConfig) -> float:
    """Shows what training would see first. No weights are loaded, and no broken record hides the others."""
    from g2rpo.data.stream import PromptStream
    from g2rpo.report.preview import Preview
    from g2rpo.training.parts import build_parts
    from g2rpo.training.quiet import quieten

    quieten()
    preview = Preview(prompts=cfg.preview)
    if "on_error" in cfg.data:
        cfg.data.on_error = "skip"
    parts = build_parts(cfg)
    stream = PromptStream(source=parts.source, mix=parts.mix, seed=cfg.seed)
    preview.write(
        Path(cfg.run_dir), source=parts.source, tasks=tuple(parts.mix.shares), next_of=stream.next_of, seed=cfg.seed,
        encoder=parts.model.encoder(), reward=parts.reward,
    )  # fmt: skip
    return math.nan


def _score(cfg: DictConfig) -> float:
    """What `evaluate.py` does, with a report: the row of a comparison that was not trained."""
    from g2rpo.report.run import write_report
    from g2rpo.training.evaluation_run import run_evaluation

    score = run_evaluation(cfg)
    write_report(Path(cfg.run_dir))
    return score


def evaluate(cfg: DictConfig) -> float:
    """Scores a checkpoint on benchmarks and held-out prompts, or judges saved predictions again. Returns the mean score."""
    with explained(Path(cfg.run_dir)):
        from g2rpo.training.evaluation_run import run_evaluation

        return run_evaluation(cfg)


def cold_start(cfg: DictConfig) -> None:
    """Supervised fine-tuning on demonstrations; writes a checkpoint folder."""
    with explained(Path(cfg.run_dir)):
        from g2rpo.training.cold_start_run import run_cold_start

        run_cold_start(cfg)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Ends a failed run with one sentence and exit code 1; the traceback goes to `error.txt` in the run folder.

    Of several processes, each has a file of its own: when one fails, the others soon complain of its silence.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, RuntimeError, OSError, ImportError) as error:
        folder.mkdir(parents=True, exist_ok=True)
        rank = os.environ.get("LOCAL_RANK", "0")
        path = folder / ("error.txt" if rank == "0" else f"error_rank{rank}.txt")
        path.write_text(traceback.format_exc(), encoding="utf-8")
        logging.getLogger("g2rpo").error("%s\n(traceback: %s)", sentence(error), path)
        sys.exit(1)


def sentence(error: BaseException) -> str:
    """The cause of an error as the user can act on it: Hydra's wrapping is taken off, the configuration key kept."""
    lines = [line.strip() for line in str(error).splitlines()]
    key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    cause = error
    while cause.__cause__ is not None and type(error).__name__ == "InstantiationException":
        cause = cause.__cause__
        if type(cause).__name__ != "InstantiationException":
            break
    text = "\n".join(line for line in str(cause).strip().splitlines() if not line.strip().startswith(("full_key: ", "object_type=")))
    return f"{key}: {text}" if key and not text.startswith(key) else text
