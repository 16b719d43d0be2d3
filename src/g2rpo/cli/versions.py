"""Which packages g2rpo needs, which are installed, and whether they fit together.

The bounds are those of `pyproject.toml`; in an installed package they are its metadata. Tested
versions are the files of `constraints/`. Nothing is imported, so this takes no time.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

from g2rpo.paths import CONSTRAINTS, IN_CHECKOUT, ROOT


@dataclass(frozen=True)
class Misfit:
    """A requirement that the installed packages do not meet."""

    needed_by: str
    """The package that needs it, with its version."""
    requirement: Requirement
    found: str | None
    """The installed version; None if it is not installed."""

    def __str__(self) -> str:
        """Say what is needed and what was found."""
        found = f"found {self.found}" if self.found else "it is not installed"
        return f"{self.needed_by} needs {plain(self.requirement)}; {found}"


def plain(requirement: Requirement) -> str:
    """Return a requirement as pip takes it, without markers.

    >>> plain(Requirement('vllm>=0.32,<0.34; extra == "vllm"'))
    'vllm<0.34,>=0.32'
    """
    return f"{requirement.name}{requirement.specifier}"


def wanted() -> dict[str, list[Requirement]]:
    """Return the requirements by extra; those of every installation have the key ''."""
    if IN_CHECKOUT:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        by_extra = {"": project["dependencies"], **project["optional-dependencies"]}
        return {extra: [Requirement(line) for line in lines] for extra, lines in by_extra.items()}
    about = metadata.metadata("g2rpo")
    lines = [Requirement(line) for line in metadata.requires("g2rpo") or ()]
    always = [line for line in lines if _applies(line)]
    extras = about.get_all("Provides-Extra") or []
    return {"": always} | {
        extra: [line for line in lines if line not in always and _applies(line, extra)]
        for extra in extras
    }


def _applies(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def installed(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def unmet(requirements: Iterable[Requirement], needed_by: str) -> list[Misfit]:
    """Return the requirements that are missing, or installed in a version outside the bounds."""
    found = [(line, installed(line.name)) for line in requirements]
    return [
        Misfit(needed_by, line, version)
        for line, version in found
        if version is None or not line.specifier.contains(version, prereleases=True)
    ]


def contradictions(names: Iterable[str]) -> list[Misfit]:
    """Return where one installed package excludes the installed version of another.

    A package that is absent is no contradiction: many requirements are for other uses.

    Args:
        names: Packages whose own requirements are compared with what is installed.
    """
    found = []
    for name in names:
        if (version := installed(name)) is None:
            continue
        lines = [Requirement(line) for line in metadata.requires(name) or ()]
        present = [line for line in lines if _applies(line) and installed(line.name)]
        found += unmet(present, f"{name} {version}")
    return found


def tested(name: str) -> dict[str, str]:
    """Return the versions of `constraints/<name>.txt` by package, in pip's normal spelling."""
    text = (CONSTRAINTS / f"{name}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in pins}


def untested(names: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """Return `package installed (tested: pinned)` for versions other than the pinned ones.

    A local part such as `+cpu` does not count.
    """
    pairs = [(name, installed(name)) for name in names if name in pins]
    return [
        f"{name} {version} (tested: {pins[name]})"
        for name, version in pairs
        if version and version.partition("+")[0] != pins[name]
    ]


def install_command(constraints: str, requirements: Iterable[str]) -> str:
    """Return the pip command that installs packages in their tested versions.

    Args:
        constraints: Name of the set of versions: `ci`, `gpu` or `vllm`.
        requirements: What to install, with bounds.
    """
    words = " ".join(f"'{word}'" if re.search(r"[<>=]", word) else word for word in requirements)
    return f"pip install -c {CONSTRAINTS / constraints}.txt {words}"
