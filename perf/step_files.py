"""Lists the source files that a reader needs for one training step.

    python perf/step_files.py [group=choice ...] [key=value ...]

Counted are the files of `g2rpo` in which a function runs between the call of `training_step` and
its return. Imports, setup and validation are not counted. The default is `experiment=smoke`:
`rollout=hf`, `reward=verifier` and the gym, with the reward in this process so that it is seen.
"""

import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from hydra import compose, initialize_config_dir

import g2rpo
from g2rpo.paths import CONF

PACKAGE = Path(g2rpo.__file__).parent
ONE_STEP = (
    "experiment=smoke",
    "reward_workers=inline",
    "heldout=none",
    "trainer.max_steps=1",
    "trainer.accelerator=cpu",
    "lr_scheduler=constant",
)


def files_of_a_step(words: list[str]) -> list[str]:
    """Train one step and return the files that ran in it, relative to the package, sorted."""
    from g2rpo.report.run_page import write_report
    from g2rpo.training.module import G2RPOModule
    from g2rpo.training.run import run_training

    called: set[str] = set()

    def note(frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            called.add(frame.f_code.co_filename)

    step = G2RPOModule.training_step

    def traced(module: Any, batch: Any, batch_idx: int) -> Any:
        sys.setprofile(note)
        try:
            return step(module, batch, batch_idx)
        finally:
            sys.setprofile(None)

    G2RPOModule.training_step = traced  # type: ignore[method-assign]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            initialize_config_dir(CONF, version_base="1.3"),
        ):
            run_training(
                compose("config", [*ONE_STEP, *words, f"run_dir={folder}"]),
                write_report=write_report,
            )
    finally:
        G2RPOModule.training_step = step  # type: ignore[method-assign]
    inside = [Path(name) for name in called if Path(name).is_relative_to(PACKAGE)]
    return sorted(file.relative_to(PACKAGE).as_posix() for file in inside)


if __name__ == "__main__":
    found = files_of_a_step(sys.argv[1:])
    print("\n".join(found))
    print(f"{len(found)} files")
