"""Benchmarks by name: `conf/benchmark/<name>.yaml`, here or in a folder that a user added.

Users add a folder with `--config-dir` or `hydra.searchpath`. A name is looked up when an evaluation
is built, so that the configuration of a run contains only the benchmarks it uses.
"""

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from g2rpo.paths import CONF

GROUP = "benchmark"
PUBLISHED = "published"
"""Stands for all benchmarks that the paper reports, in its order."""
QUICK = "quick"
"""Stands for the benchmarks whose yaml says `quick: true`."""


def benchmark_names() -> list[str]:
    """Return the names of all benchmarks, in alphabetical order."""
    return sorted({file.stem for folder in _folders() for file in (folder / GROUP).glob("*.yaml")})


def benchmark_settings(name: str) -> dict[str, Any]:
    """Return the content of a benchmark's yaml as plain values.

    Raises:
        ValueError: If there is no benchmark of this name, or if its file has a defaults list.
    """
    for folder in _folders():
        file = folder / GROUP / f"{name}.yaml"
        if file.is_file():
            found = OmegaConf.load(file)
            if "defaults" in found:
                raise ValueError(
                    f"{file}: a benchmark is read without a defaults list; write its keys into this"
                    " file"
                )
            plain = OmegaConf.to_container(found, resolve=True)
            assert isinstance(plain, dict)
            return {str(key): value for key, value in plain.items()}
    names = benchmark_names()
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise ValueError(
        f"eval.benchmarks: unknown benchmark {name!r}; {hint}expected some of: {', '.join(names)}"
    )


def selected(benchmarks: Sequence[str] | str, built: Callable[[str], Any]) -> list[str]:
    """Return the names that `eval.benchmarks` stands for.

    Args:
        benchmarks: Names, `published` or `quick`.
        built: Returns the benchmark of a name.

    Raises:
        ValueError: If `benchmarks` is any other text.
    """
    if not isinstance(benchmarks, str):
        return list(benchmarks)
    if benchmarks == QUICK:
        return [name for name in benchmark_names() if benchmark_settings(name).get("quick")]
    if benchmarks == PUBLISHED:
        rows = {name: getattr(built(name), "published", None) for name in benchmark_names()}
        return sorted(filter(rows.get, rows), key=lambda name: rows[name].row)
    raise ValueError(
        f"eval.benchmarks: expected a list of names, {PUBLISHED} or {QUICK}, got {benchmarks!r};"
        f" did you mean 'eval.benchmarks=[{benchmarks}]'?"
    )


def _folders() -> Iterator[Path]:
    """Yield the folders with configuration, a user's before ours."""
    seen = {Path(CONF)}
    pending = (
        [source.path for source in _sources(HydraConfig.get())] if HydraConfig.initialized() else []
    )
    while pending:
        folder = Path(pending.pop(0).removeprefix("file://"))
        if folder in seen:
            continue
        seen.add(folder)
        # A job of a sweep is composed from its frozen .hydra folder, which lists the search path of
        # the sweep.
        frozen = folder / "hydra.yaml"
        if folder.name == ".hydra" and frozen.is_file():
            pending += [source.path for source in _sources(OmegaConf.load(frozen).hydra)]
        yield folder
    yield Path(CONF)


def _sources(hydra: Any) -> list[DictConfig]:
    return [source for source in hydra.runtime.config_sources if source.schema == "file"]
