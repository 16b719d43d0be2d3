"""Commands in docs/*.md compose, with scripts and options that exist; links lead to files."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
CONFIGS = {"cold_start.py", "estimate.py", "pilot.py", "preview.py", "rescore.py"}
"""Programs with a configuration of their own; the others use conf/config.yaml."""


def _commands() -> Iterator[tuple[str, str]]:
    """Yield (document, command) for every command in a code block."""
    for path in DOCS:
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            match = re.match(r"(?: {4})?(?:[A-Z_]+=\S+ )*(?:\S+/)?(python .*)", line)
            if match:
                for command in re.sub(r"\s# .*|`", "", match[1]).split(" && "):
                    yield path.name, command.strip()


COMMANDS = sorted(set(_commands()))
COMPOSED = [pair for pair in COMMANDS if re.match(r"python \w+\.py\b", pair[1])]
OTHERS = [pair for pair in COMMANDS if pair not in COMPOSED]


def test_the_documents_show_commands() -> None:
    assert len(COMPOSED) >= 25
    assert len(OTHERS) >= 10


@pytest.mark.parametrize(("document", "command"), COMPOSED)
def test_a_command_of_a_document_composes(document: str, command: str) -> None:
    _, script, *words = shlex.split(re.sub(r"<[^>]+>", "folder", command))
    assert (ROOT / script).is_file()
    folder, config = "conf", script.removesuffix(".py") if script in CONFIGS else "config"
    if "-cn" in words:
        assert words[:3:2] == ["-cd", "-cn"]
        folder, config, words = words[1], words[3], words[4:]
    # A multirun's lists keep their first value, and the file that the pilot writes may be missing.
    first = "-m" in words
    overrides = [
        word.split(",")[0] if first and "[" not in word else word
        for word in words
        if word not in ("-m", "shaping=proposed")
    ]
    with initialize_config_dir(str(ROOT / folder), version_base="1.3"):
        cfg = compose(config, [*overrides, f"hydra.searchpath=[file://{ROOT / 'conf'}]"])
    assert "seed" in cfg


@pytest.mark.parametrize(("document", "command"), OTHERS)
def test_a_script_of_a_document_has_the_options_it_is_shown_with(
    document: str, command: str
) -> None:
    _, *words = shlex.split(re.sub(r"<[^>]+>", "folder", command))
    if words[0] == "-m":
        assert find_spec(words[1]) is not None
        return
    source = (ROOT / words[0]).read_text()
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_and_paths_in_a_document_exist(path: Path) -> None:
    text = path.read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    quoted = set(re.findall(r"`((?:src|conf|tests|docs|perf|sweeps|constraints)/[\w./-]*)`", text))
    missing = [link for link in sorted(links) if not (path.parent / link).exists()]
    assert missing + [name for name in sorted(quoted) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", [*DOCS, *ROOT.glob("*.md")], ids=lambda path: path.name)
def test_a_document_has_no_marks_of_an_unfinished_merge(path: Path) -> None:
    marks = r"^(<<<<<<<|>>>>>>>|=======$).*"
    assert re.findall(marks, path.read_text(), flags=re.MULTILINE) == []
