"""A script that does what `train.py` does with a frozen configuration, in a twentieth of a
second.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from g2rpo.sweep.job import Job, job_name
from g2rpo.sweep.job_runner import Local, Runner
from g2rpo.sweep.launch import Sweep

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from omegaconf import OmegaConf
from g2rpo.config_hash import config_hash

folder = Path(sys.argv[sys.argv.index("--config-path") + 1]).parent
cfg = OmegaConf.load(folder / ".hydra" / "config.yaml")
with (folder / "starts.txt").open("a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
if cfg.does == "fail":
    (folder / "error.txt").write_text("Traceback\\nRuntimeError: out of luck\\n")
    sys.exit(1)
if cfg.does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if cfg.does == "sleep":
    time.sleep(30)
scores = {"after": {"macro": cfg.seed / 8}}
summary = {"config_hash": config_hash(cfg), "heldout": scores, "steps": 3}
summary["stage_s"] = {"train": 1.5}
(folder / "summary.json").write_text(json.dumps(summary)[: 9 if cfg.does == "tear" else None])
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "stand_in.py").write_text(SCRIPT)
    return tmp_path / "stand_in.py"


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """`job(seed=1, does="fail")`: a job of the sweep in tmp_path/sweep over both."""

    def made(seed: int = 0, does: str = "train", steps: int = 60) -> Job:
        values: Mapping[str, str] = {"does": does, "seed": str(seed)}
        cfg = OmegaConf.create(
            {
                "seed": seed,
                "does": does,
                "trainer": {"max_steps": steps},
                "run_dir": "${hydra:runtime.output_dir}",
            }
        )
        name = job_name(values)
        overrides = [f"does={does}", f"seed={seed}", f"trainer.max_steps={steps}"]
        hydra = OmegaConf.create({"hydra": {"runtime": {"choices": {"advantage": "grpo"}}}})
        return Job(
            name=name,
            folder=tmp_path / "sweep" / name,
            values=values,
            overrides=overrides,
            cfg=cfg,
            hydra=hydra,
        )

    return made


@pytest.fixture
def sweep(tmp_path: Path, script: Path) -> Callable[..., Sweep]:
    """A sweep into tmp_path/sweep; `reports` collects how many summaries there were whenever the
    page was written.
    """

    def made(
        runner: Runner | None = None, total: int = 0, reports: list[int] | None = None
    ) -> Sweep:
        def note(folder: Path) -> None:
            (reports if reports is not None else []).append(
                len(list(folder.glob("*/summary.json")))
            )

        return Sweep(
            folder=tmp_path / "sweep",
            script=str(script),
            command="python train.py -m",
            dimensions=["does", "seed"],
            runner=runner or Local(),
            write_report=note,
            total=total,
        )

    return made
