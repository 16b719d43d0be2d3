"""Write the tables of docs/gpus.md: what estimate.py says of each recipe on 1, 8, 16 and 32 GPUs.

    python perf/gpus.py           # rewrites the tables; needs no GPU, no weights and no data
    python perf/gpus.py --check   # says whether they are current

Prompts of 1500 tokens, 1000 of them of an image, completions of 800 tokens on average and of
4096 at most; H100 with 80 GiB as its data sheet says; a GPU-hour at a price that is assumed.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from g2rpo.training.estimate.total import GIB, Estimate
from g2rpo.training.estimate_run import NoPrompts, estimated
from g2rpo.training.parts import build_parts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gpus.md"
BEGIN, END = "<!-- perf/gpus.py -->", "<!-- end -->"
PRICE = 2.5
"""US dollars that a GPU-hour is assumed to cost."""
ASSUMED = (
    "estimate.gib=80",
    "estimate.tflops=989",
    "estimate.gb_per_s=3350",
    "estimate.prompt_tokens=1500",
    "estimate.image_tokens=1000",
    "estimate.completion_tokens=800",
)
RECIPES = [f"qwen3_vl_{size}_{kind}" for size in ("2b", "4b", "8b") for kind in ("full", "lora")]
PLACES = {
    1: ("trainer.devices=1",),
    8: ("trainer.devices=8",),
    16: ("trainer.devices=8", "trainer.num_nodes=2"),
    32: ("trainer.devices=8", "trainer.num_nodes=4"),
}


def estimate_of(experiment: str, gpus: int, *more: str) -> Estimate:
    """Return the estimate of a recipe on so many GPUs."""
    options = [f"experiment={experiment}", *PLACES[gpus], *ASSUMED, *more]
    with (
        tempfile.TemporaryDirectory() as folder,
        initialize_config_dir(str(ROOT / "conf"), version_base=None),
    ):
        cfg = compose("estimate", [*options, "data.root=/data", f"run_dir={folder}"])
        parts = build_parts(cfg, source=NoPrompts(why="no data"))

        def peek() -> Any:
            raise AssertionError("lengths are given")

        return estimated(cfg, parts, peek)


def row(experiment: str, gpus: int) -> str:
    """Return the line of a table."""
    found = estimate_of(experiment, gpus)
    command = " ".join([f"experiment={experiment}", *PLACES[gpus]])
    seconds, fits = found.step_s or 0.0, found.verdict().startswith("fits")
    # a key that is advised twice has its last value
    advised = [part for step in found.advice for part in step.override.split()]
    advice = " ".join({part.partition("=")[0]: part for part in advised}.values())
    cost = PRICE * gpus * seconds / 3600
    cells = [
        f"`{command}`",
        f"{found.peak / GIB:.0f}",
        "yes" if fits else f"no: `{advice}`",
        f"{seconds:.0f}" if fits else "-",
        f"{cost:.2f}" if fits else "-",
    ]
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """Return all tables."""
    lines = []
    for gpus in PLACES:
        lines += [
            f"**{gpus} GPU{'s' if gpus > 1 else ''}**",
            "",
            "| `python train.py data.root=/data/onethinker ...` | GiB a GPU | fits 80 | s a step |"
            " $ a step |",
            "|---|---|---|---|---|",
            *(row(experiment, gpus) for experiment in RECIPES),
            *([row("openvlthinker_v2", gpus)] if gpus > 1 else []),
            "",
        ]
    return "\n".join(lines)


def page() -> str:
    """Return the page with current tables."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    logging.disable(logging.WARNING)
    current = page()
    if parser.parse_args().check:
        sys.exit(None if current == PAGE.read_text() else f"{PAGE}: run python perf/gpus.py")
    PAGE.write_text(current)


if __name__ == "__main__":
    main()
