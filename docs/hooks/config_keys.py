"""Keys of the configuration with default, meaning and line, read from `conf/**/*.yaml`.

A choice is a file such as `conf/loss/clip.yaml`. The meaning of a key is the comment beside it,
else the entry under `Args:` in the docstring of the class that the file builds.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml
from hydra.utils import get_object

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
PREFIXES = {
    "experiment": "",
    "benchmark": "eval.suite.{choice}",
    "rows": "eval.row_sources.{choice}",
    "judge": "judge",
}
"""Where the keys of a group are in the composed configuration, if not under the group's name."""
_HYDRA = ("defaults", "hydra", "_target_", "_partial_", "_recursive_")


@dataclass(frozen=True)
class Key:
    """One key of a choice; `default` is YAML, `file` is relative to the repository."""

    name: str
    default: str
    meaning: str
    file: str
    line: int


@dataclass(frozen=True)
class Choice:
    """One file of `conf/`: its first comment, its keys and the choices of other groups it names."""

    group: str
    name: str
    about: str
    keys: tuple[Key, ...]
    parts: tuple[str, ...]
    files: tuple[str, ...]


def groups() -> list[str]:
    """Return all groups, those inside others after them: model, model/adapter, ..."""
    return sorted({str(file.parent.relative_to(CONF)) for file in CONF.glob("*/**/*.yaml")})


def choices(group: str) -> list[Choice]:
    """Return the choices of a group; `.` has the main configuration of every program."""
    files = sorted((CONF / group).glob("[!_]*.yaml"))
    return [choice(group, file.stem) for file in files]


def choice(group: str, name: str) -> Choice:
    """Read one choice, with the keys it inherits from other choices of its group."""
    file = CONF / group / f"{name}.yaml"
    pattern = "" if group == "." else PREFIXES.get(group, group.replace("/", "."))
    prefix = pattern.format(choice=name)
    keys, parts, files = _merged(file)
    named = tuple(replace(key, name=_joined(prefix, key.name)) for key in keys.values())
    return Choice(group, name, _about(file), named, tuple(parts), tuple(dict.fromkeys(files)))


def _merged(file: Path) -> tuple[dict[str, Key], list[str], list[str]]:
    """Return keys by name, parts and files of a choice and of those it starts from."""
    document = yaml.compose(text := file.read_text())
    keys: dict[str, Key] = {}
    parts: list[str] = []
    files: list[str] = []
    for entry in yaml.safe_load(text).get("defaults", []):
        if isinstance(entry, dict):
            parts += [f"{_bare(group)}={value}" for group, value in entry.items() if value]
            continue
        name, _, package = entry.partition("@")
        if name != "_self_" and (file.parent != CONF or name != "config"):
            inherited, more, sources = _merged(file.parent / f"{name}.yaml")
            keys |= {_joined(package, key): value for key, value in inherited.items()}
            keys = {name: replace(key, name=name) for name, key in keys.items()}
            parts += more
            files += sources
    target = _value(document, "_target_")
    for key in _leaves(document, text.splitlines(), file, target):
        before = keys.get(key.name)
        keys[key.name] = replace(key, meaning=before.meaning) if before and not key.meaning else key
    return keys, parts, [str(file.relative_to(ROOT)), *files]


def _leaves(
    node: yaml.MappingNode,
    lines: list[str],
    file: Path,
    target: str,
    prefix: str = "",
    above: str = "",
) -> Iterator[Key]:
    """Yield the leaves below `node`; `above` is the comment of the mapping they are in."""
    for key, value in node.value:
        name, line = _joined(prefix, key.value), key.start_mark.line
        if (not prefix and key.value in _HYDRA) or key.value in _HYDRA[2:]:
            continue
        comment = _comment(lines, value.end_mark) or _comment_before(lines, line)
        built = _value(value, "_target_")
        inner = isinstance(value, yaml.MappingNode) and value.value
        if inner and (not value.flow_style or built or _is_recipe(file)):
            opening = _comment(lines, key.end_mark) if not value.flow_style else comment
            yield from _leaves(value, lines, file, built or target, name, opening or above)
            continue
        told = (_argument(built or target, part) for part in reversed(name.split(".")))
        meaning = comment or above or next(filter(None, told), "")
        place = str(file.relative_to(ROOT))
        yield Key(name, _yaml(value), meaning, place, line + 1)


def _is_recipe(file: Path) -> bool:
    return file.parent.name == "experiment"


def _joined(*words: str) -> str:
    return ".".join(word for word in words if word)


def _bare(group: str) -> str:
    return re.sub(r"^override |@.*", "", group).lstrip("/")


def _value(node: yaml.Node, key: str) -> str:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value.value for name, value in pairs if name.value == key), "")


def _yaml(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        quoted = node.style in ("'", '"') and node.value in ("", "null", "true", "false")
        return f'"{node.value}"' if quoted else node.value
    text = node.start_mark.buffer[node.start_mark.index : node.end_mark.index]
    return " ".join(text.split())


def _comment(lines: list[str], mark: yaml.Mark) -> str:
    """Return the comment behind a mark; a block ends at the start of a line, which has none."""
    if mark.column == 0 or mark.line >= len(lines):
        return ""
    found = re.search(r"(?:^|\s)#\s*(.*)", lines[mark.line][mark.column :])
    return found[1].strip() if found else ""


def _comment_before(lines: list[str], line: int) -> str:
    """Return the comment lines directly above a line, unless they begin the file."""
    start = line
    while start and re.match(r"\s*#", lines[start - 1]):
        start -= 1
    return " ".join(text.strip(" #") for text in lines[start:line]) if start else ""


def _about(file: Path) -> str:
    """Return the comment at the top of a file, commands included."""
    lines = [line for line in file.read_text().splitlines() if "@package" not in line]
    end = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    text = [line.strip("# ") for line in lines[:end]]
    beside = re.search(r"\s#\s*(.*)", lines[0])
    return "\n".join(text) or (beside[1] if beside and lines[0].startswith("defaults") else "")


@cache
def _argument(target: str, name: str) -> str:
    """Return what the docstring of `target` says about an argument; empty if it says nothing."""
    if not target.startswith("g2rpo"):
        return ""
    built = get_object(target)
    owner = built if inspect.isclass(built) else getattr(built, "__self__", built)
    for thing in (built, *getattr(owner, "__mro__", (owner,))):
        text = inspect.getdoc(thing) or ""
        found = re.search(
            rf"^Args:\n(?:.*\n)*?^    {name}:((?:.*\n?)(?:^ {{8}}.*\n?)*)", text, re.M
        )
        if found:
            return " ".join(found[1].split())
    return ""
