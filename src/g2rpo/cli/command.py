"""`g2rpo <program> ...`: runs a script of the checkout, or its copy in the installed package."""

import runpy
import sys
from collections.abc import Sequence

from g2rpo import __version__
from g2rpo.cli.doctor import doctor
from g2rpo.cli.push import push
from g2rpo.paths import SCRIPTS, SWEEPS

PROGRAMS = {
    "train": "train a policy, evaluate it before and after, write a report",
    "evaluate": "score a checkpoint on held-out prompts and benchmarks, without training",
    "preview": "show the first prompts of each task on a page; read no weights",
    "estimate": "print the memory and the seconds per step that a run would need",
    "pilot": "measure the untrained policy and write shaping bands for it",
    "rescore": "judge saved predictions again, under another protocol or judge",
    "cold-start": "teach a new checkpoint by supervised demonstrations",
}
"""Programs by the name on the command line, with one line each."""
OTHERS = {
    "report": "write the page of a run or sweep again, or compare runs (several folders)",
    "push": "upload a checkpoint to the Hugging Face Hub: g2rpo push <folder> <owner>/<name>",
    "sweep": "run many trainings that answer one question: g2rpo sweep advantage_ablation",
    "doctor": "print versions, GPUs, disk and extras, and what to do where they do not fit",
}
"""Programs without a configuration, with one line each."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the program that the first word names, with the remaining words as its command line."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ["--help"]
    if name in PROGRAMS:
        _script(name.replace("-", "_"), rest)
    elif name == "sweep":
        _sweep(rest)
    elif name == "report":
        sys.argv = ["g2rpo report", *rest]
        runpy.run_module("g2rpo.report", run_name="__main__")
    elif name == "push":
        push(rest)
    elif name == "doctor":
        doctor(rest)
    elif name in ("-h", "--help"):
        sys.stdout.write(_help())
    elif name == "--version":
        sys.stdout.write(f"g2rpo {__version__}\n")
    else:
        sys.exit(
            f"g2rpo: unknown program {name!r}; expected one of: {', '.join([*PROGRAMS, *OTHERS])}"
        )


def _script(name: str, words: Sequence[str]) -> None:
    """Run `python <name>.py <words>` in this process.

    `sys.argv` is set as well, because Lightning and sweeps start further processes from it.
    """
    path = str(SCRIPTS / f"{name}.py")
    sys.argv = [path, *words]
    runpy.run_path(path, run_name="__main__")


def _sweep(words: Sequence[str]) -> None:
    """Run `sweeps/<name>.yaml`, or list the sweeps."""
    names = sorted(file.stem for file in SWEEPS.glob("*.yaml"))
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:<20} {_question(name)}" for name in names]
        sys.stdout.write("g2rpo sweep <name> [key=value ...]\n\n" + "\n".join(lines) + "\n")
    elif words[0] in names:
        _script(
            "train",
            ["--config-dir", str(SWEEPS), "--config-name", words[0], "--multirun", *words[1:]],
        )
    else:
        sys.exit(
            f"g2rpo sweep: unknown sweep {words[0]!r}; expected one of: {', '.join(names)}; or:"
            " g2rpo train -m key=a,b"
        )


def _question(name: str) -> str:
    return (SWEEPS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _help() -> str:
    lines = [f"  {name:<11} {words}" for name, words in (PROGRAMS | OTHERS).items()]
    return (
        "g2rpo <program> [group=choice ...] [key=value ...]\n\n"
        + "\n".join(lines)
        + "\n\ng2rpo <program> --help shows every choice and the main numbers. Start with: g2rpo"
        " train experiment=smoke\n"
    )
