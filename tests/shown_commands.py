"""Commands that documents show, and whether each of them is one that exists.

A command of ours is composed: its choices, keys and numbers are those that the program would read.
Of programs of others only the name is known here (`OTHERS`).
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from g2rpo.cli.checks import refuse_missing
from g2rpo.cli.command import PROGRAMS
from g2rpo.cli.value_ranges import refuse_out_of_range

ROOT = Path(__file__).parents[1]
CONFIGS = {"cold_start", "estimate", "pilot", "preview", "rescore"}
"""Programs with a configuration of their own; the others use conf/config.yaml."""
SCRIPTS = {name.replace("-", "_") for name in PROGRAMS}
OTHERS = {
    "cd",
    "curl",
    "docker",
    "export",
    "hf",
    "ls",
    "mlflow",
    "source",
    "tensorboard",
    "unzip",
} | {
    "uv",
    "vllm",
    "wandb",
    "zcat",
    "zip",
}
"""Programs of others, whose options no test here knows."""
_FENCE = re.compile(r"^ *``` *(\w+)([^\n]*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_NAMED = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")


def pages(*sections: str) -> list[Path]:
    """Return the written pages in sections of the site's navigation, in their order."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    found = [entry for section in nav for title, entry in section.items() if title in sections]
    files = [ROOT / "docs" / name for name in _names(found) if (ROOT / "docs" / name).exists()]
    return [file for file in files if file.suffix == ".md"]


def _names(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        yield from _names(list(entry.values()))
    elif isinstance(entry, list):
        for inner in entry:
            yield from _names(inner)


def blocks(page: Path) -> list[tuple[str, str | None, str]]:
    """Return (language, title, text) of the code blocks of a page.

    The title of a file is its name; a first line such as `# theirs/median.py` says it as well.
    """
    found = []
    for language, rest, indented in _FENCE.findall(page.read_text()):
        text = dedent(indented)
        title = _TITLE.search(rest) or _NAMED.match(text)
        found.append((language, title[1] if title else None, text))
    return found


def lines(text: str) -> list[str]:
    """Return the commands of a block: continued lines joined, comments and blank lines left out."""
    joined = [
        re.sub(r"(^|\s)#(?!\w*\{).*", "", line) for line in text.replace("\\\n", " ").splitlines()
    ]
    parts = [part.strip() for line in joined for part in line.split(" && ")]
    return [part for part in parts if part and not re.fullmatch(r"for .* do|done", part)]


def commands(page: Path) -> list[str]:
    """Return the commands of a page in their order, each once."""
    shown = [text for language, _, text in blocks(page) if language in ("bash", "sh")]
    return list(dict.fromkeys(line for text in shown for line in lines(text)))


def check(command: str, page: Path, folder: Path) -> None:
    """Raise if a command names a program, a choice, a key or a file that does not exist.

    Args:
        command: One command as a shell reads it.
        page: The page that shows it; files that its titled blocks hold exist.
        folder: An empty folder, for those files.
    """
    words = shlex.split(re.sub(r"\$\w+", "1", re.sub(r"<[^<>]+>", "folder", command)))
    while re.fullmatch(r"[A-Z][A-Z_0-9]*=.*", words[0]):
        words = words[1:]
    if words[0] in ("torchrun", "srun"):
        first = next(n for n, word in enumerate(words) if word.endswith(".py"))
        words = ["python", *words[first:]]
    program = Path(words[0]).name
    if re.fullmatch(r"python(3\.\d+)?", program):
        _check_python(words[1:], page, folder)
    elif program == "g2rpo":
        _check_g2rpo(words[1:], page, folder)
    elif program == "pip":
        _check_pip(words)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert set(words[1:]) <= set(targets), command
    elif program in ("bash", "sbatch"):
        script, *rest = [word for word in words[1:] if not word.startswith("--")]
        assert (ROOT / script).is_file(), script
        if program == "sbatch":
            _composed("train", rest, page, folder)
    else:
        assert program in OTHERS, f"no test knows the program {program!r} of: {command}"


def _check_python(words: Sequence[str], page: Path, folder: Path) -> None:
    script, *rest = words
    if script == "-m":
        assert find_spec(rest[0]) is not None, rest[0]
    elif Path(script).stem in SCRIPTS:
        assert (ROOT / script).is_file(), script
        _composed(Path(script).stem, rest, page, folder)
    elif script.startswith(("perf/", "tests/")):
        source = (ROOT / script).read_text()
        unknown = [
            w for w in rest if w.startswith("--") and f'"{w.partition("=")[0]}"' not in source
        ]
        assert unknown == [], f"{script} has no {unknown}"
    else:
        assert script in [title for _, title, _ in blocks(page)], (
            f"{page.name} does not show {script}"
        )


def _check_g2rpo(words: Sequence[str], page: Path, folder: Path) -> None:
    program, *rest = words
    if program == "sweep":
        where = ["-cd", "sweeps", "-cn", rest[0], "-m", *rest[1:]] if rest else ["--help"]
        _composed("train", where, page, folder)
    elif program in PROGRAMS:
        _composed(program.replace("-", "_"), rest, page, folder)
    else:
        source = (ROOT / "src" / "g2rpo" / "cli" / "command.py").read_text()
        assert f'"{program}"' in source, f"g2rpo has no program {program!r}"


def _check_pip(words: Sequence[str]) -> None:
    extras = (ROOT / "pyproject.toml").read_text().partition("optional-dependencies]")[2]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "-c" and "://" not in following:
            # out of a wheel, a file of constraints/ is in the reader's folder
            found = [ROOT / following, ROOT / "constraints" / following]
            assert any(file.is_file() for file in found), following
        ours = re.fullmatch(r"(?:\.|g2rpo[\w.-]*)(?:\[([\w,-]+)\])?", word)
        for extra in (ours[1] or "").split(",") if ours else ():
            assert not extra or re.search(rf"^{extra} = ", extras, flags=re.MULTILINE), extra


def _composed(program: str, words: Sequence[str], page: Path, folder: Path) -> DictConfig | None:
    """Compose what a program would read; a multirun's lists keep their first value."""
    if "--help" in words:
        return None
    config = program if program in CONFIGS else "config"
    places, rest, multirun = [ROOT / "conf"], [], "-m" in words or "--multirun" in words
    words = [word for word in words if word not in ("-m", "--multirun", "--cfg", "job")]
    while words:
        word, *words = words
        if word in ("-cd", "--config-dir"):
            theirs = Path(words.pop(0))
            places.insert(0, theirs if theirs.is_absolute() else _shown(theirs, page, folder))
        elif word in ("-cn", "--config-name"):
            config = words.pop(0)
        else:
            # a file that the pilot writes may be missing
            first = word.split(",")[0] if multirun and not re.search(r"[\[{(]", word) else word
            rest += [first] if word != "shaping=proposed" else []
    places.sort(key=lambda place: not (place / f"{config}.yaml").is_file())
    paths = ",".join(f"file://{place}" for place in places[1:])
    ours = ["run_dir=run", *([f"hydra.searchpath=[{paths}]"] if paths else [])]
    with initialize_config_dir(str(places[0]), version_base="1.3"):
        cfg = compose(config, [*rest, *ours])
    refuse_missing(cfg)
    refuse_out_of_range(cfg)
    return cfg


def _shown(theirs: Path, page: Path, folder: Path) -> Path:
    """Return a folder of the repository, or one with the files that the page shows for it."""
    if (ROOT / theirs).is_dir():
        return ROOT / theirs
    write_files(page, folder)
    return folder / theirs


def write_files(page: Path, folder: Path) -> None:
    """Write the titled blocks of a page, whose titles are file names, into a folder."""
    for language, title, text in blocks(page):
        if title and language not in ("bash", "text"):
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(text)
