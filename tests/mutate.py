"""Plant one bug after another in a copy of the package and see that the tests notice.

Usage: `python tests/mutate.py [--only NAME]`.

A mutant is a named substitution in one file with the tests that must fail because of it. Exit code
1 if a mutant survives, if a substitution no longer matches its file exactly once (the code has
moved on: adapt the mutant), or if the tests fail without any bug. Each run is a fork of this
process, which has already imported the heavy libraries.
"""

# ruff: noqa: T201

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import hydra.utils  # noqa: F401  imported before forking, to save every child the time
import hypothesis.strategies  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import torch
from mutant import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[1]


def run_tests(source: Path, tests: str) -> int:
    """Exit code of pytest over `tests` with the package taken from `source`, in a forked child."""
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path.insert(0, str(source))
        os.environ["PYTHONPATH"] = str(source)  # for tests that start processes
        files = [str(ROOT / "tests" / name) for name in tests.split()]
        plain = [
            "-o",
            "addopts=",
            "-o",
            f"pythonpath={source} {ROOT / 'tests'} {ROOT / 'perf'}",
            "-p",
            "no:cacheprovider",
            "--import-mode=importlib",
            "-W",
            "ignore",
        ]
        os._exit(pytest.main([*plain, "--hypothesis-seed=0", "--assert=plain", "-x", "-q", *files]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def verdict(mutant: Mutant) -> str:
    """`killed`, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        path = source / "g2rpo" / mutant.file
        try:
            path.write_text(mutant.planted(path.read_text()))
        except ValueError as error:
            return f"STALE: {error}"
        code = run_tests(source, mutant.tests)
    return {0: "SURVIVED", 1: "killed"}.get(code, f"BROKEN: pytest ended with {code}")


def main() -> int:
    """Run the chosen mutants and report each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="run the mutants whose name contains this")
    only = parser.parse_args().only
    chosen = [mutant for mutant in all_mutants() if only in mutant.name]
    if not chosen:
        parser.error(f"no mutant is called {only!r}")
    torch.set_num_threads(1)
    tests = " ".join(sorted({name for mutant in chosen for name in mutant.tests.split()}))
    if run_tests(ROOT / "src", tests) != 0:
        print(f"the tests fail without any mutant: {tests}")
        return 1
    verdicts = []
    for mutant in chosen:
        verdicts.append(verdict(mutant))
        print(f"{verdicts[-1]:8}  {mutant.file}: {mutant.name}", flush=True)
    print(f"{verdicts.count('killed')} of {len(chosen)} mutants killed")
    return int(any(outcome != "killed" for outcome in verdicts))


if __name__ == "__main__":
    sys.exit(main())
