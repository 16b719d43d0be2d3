"""A whole step compared with TRL's GRPOTrainer: rollout, reward, advantage, update.

    pip install -c constraints/ci.txt -e .[bench]      # TRL
    python perf/step.py --against trl

Both sides train the same model on the same prompts with the same reward and optimizer. The end
token is forbidden, so every completion has the requested length. Each side is a process with the
same number of threads. They take turns step by step, so only one works at a time. The first step of
each is a warm-up.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INSTALL = "pip install -c constraints/ci.txt -e .[bench]"
SIDES = ("g2rpo", "trl")
WARM_UP = 1
MOST_PIXELS = 2**22
PASSED_ON = ("prompts", "group", "completion", "threads", "dtype", "device")


class Side:
    """A process that makes one training step when told to."""

    def __init__(
        self, name: str, options: argparse.Namespace, prompt: int, folder: Path, scratch: Path
    ) -> None:
        self.name, self.log = name, scratch / f"{name}.log"
        values = {name: getattr(options, name) for name in PASSED_ON}
        values |= {
            "side": name,
            "prompt": prompt,
            "folder": folder,
            "scratch": scratch,
            "steps": WARM_UP + options.repeats,
        }
        if options.trl_cache:
            values["trl_cache"] = options.trl_cache
        threads = {
            f"{library}_NUM_THREADS": str(options.threads) for library in ("OMP", "MKL", "OPENBLAS")
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                HERE / "trl_sides.py",
                *(f"--{key.replace('_', '-')}={value}" for key, value in values.items()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            bufsize=1,
            env=os.environ | threads | {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"},
        )

    def hear(self) -> dict[str, Any]:
        """Return the next answer; exit with the end of the process's output if there is none."""
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise SystemExit(
                f"{self.name} ended with status"
                f" {self.process.returncode}:\n{self.log.read_text()[-3000:]}"
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self) -> None:
        """Tell the process to continue."""
        self.process.stdin.write("\n")


def model_folder(scratch: Path) -> Path:
    """Copy the model that ships and allow it larger images."""
    folder = scratch / "model"
    shutil.copytree(str(files("g2rpo") / "policy" / "tiny_qwen3_vl"), folder)
    settings = folder / "preprocessor_config.json"
    values = json.loads(settings.read_text())
    values["size"]["longest_edge"] = MOST_PIXELS
    settings.write_text(json.dumps(values))
    return folder


def measured(options: argparse.Namespace, prompt: int) -> dict[str, dict[str, float]]:
    """Return medians of seconds per step, and MiB, by side."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = Path(options.model) if options.model else model_folder(scratch)
        sides = [Side(side, options, prompt, folder, scratch) for side in SIDES]
        try:
            return _in_turns(sides, options)
        finally:
            for side in sides:
                side.process.kill()
                side.process.wait()


def _in_turns(sides: list[Side], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    held = [side.hear() for side in sides]  # both are ready before either begins
    steps: list[list[dict[str, float]]] = [[] for _ in sides]
    for turn in range(WARM_UP + options.repeats):
        for side, own in zip(sides, steps, strict=True):
            side.go()
            own.append(side.hear())
        print(
            f"turn {turn}: "
            + ", ".join(
                f"{s.name} {own[-1]['cpu']:.2f} CPU s" for s, own in zip(sides, steps, strict=True)
            ),
            flush=True,
        )
    found = {}
    for side, own, before in zip(sides, steps, held, strict=True):
        side.go()
        last = side.hear()
        found[side.name] = {
            kind: statistics.median(step[kind] for step in own[WARM_UP:])
            for kind in ("cpu", "wall")
        }
        found[side.name] |= {"peak": last["peak"], "extra": last["peak"] - before["before"]}
        if last["tokens"] != options.completion:
            raise SystemExit(
                f"{side.name}: expected completions of {options.completion} tokens, got"
                f" {last['tokens']:.2f} on average"
            )
    return found


def rows(found: dict[str, dict[str, float]]) -> list[str]:
    """Return the rows of a table; the last has the ratios.

    The ratios are TRL's seconds divided by ours, and our memory divided by TRL's.

    >>> one = {"cpu": 2.0, "wall": 1.0, "peak": 300.0, "extra": 100.0}
    >>> other = {"cpu": 8.0, "wall": 3.0, "peak": 900.0, "extra": 400.0}
    >>> print(*rows({"g2rpo": one, "trl": other}), sep=chr(10))
    | g2rpo | 2.00 | 1.00 | 300 | 100 |
    | trl | 8.00 | 3.00 | 900 | 400 |
    | ratio | 4.00 x | 3.00 x | 0.33 | 0.25 |
    """
    ours, trl = (found[side] for side in SIDES)
    lines = [
        f"| {side} | {row['cpu']:.2f} | {row['wall']:.2f} | {row['peak']:.0f} |"
        f" {row['extra']:.0f} |"
        for side, row in zip(SIDES, (ours, trl), strict=True)
    ]
    faster, smaller = (
        (trl[kind] / ours[kind] for kind in ("cpu", "wall")),
        (ours[kind] / trl[kind] for kind in ("peak", "extra")),
    )
    return [
        *lines,
        "| ratio | "
        + " | ".join(
            [*(f"{ratio:.2f} x" for ratio in faster), *(f"{ratio:.2f}" for ratio in smaller)]
        )
        + " |",
    ]


def compare(chosen: argparse.Namespace) -> None:
    """Print a table for each prompt length."""
    try:
        release = version("trl")
    except PackageNotFoundError:
        raise SystemExit(f"--against trl: TRL is not installed here; {INSTALL}") from None
    for prompt in [chosen.prompt] if chosen.prompt else [100, 512]:
        options = argparse.Namespace(
            **vars(chosen) | {"prompts": chosen.prompts or (32 if prompt <= 256 else 8)}
        )
        found = measured(options, prompt)
        print(
            f"TRL {release}, {options.dtype}, {options.device}, {options.threads} thread(s):"
            f" {options.prompts} prompts of {prompt} tokens, a picture in each, {options.group}"
            f" completions of {options.completion}; medians of {options.repeats} steps, the first"
            " left out"
        )
        print(
            "| | CPU s/step | wall s/step | peak MiB | beyond what was held before training"
            " |\n|---|---|---|---|---|"
        )
        print(*rows(found), sep="\n", flush=True)
