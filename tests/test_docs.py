"""Commands in README and docs are executed or composed; links lead to files."""

import re
from pathlib import Path

import pytest
from shown_commands import ROOT, check, commands, pages

DOCS = sorted((ROOT / "docs").rglob("*.md"))
MUST_SHOW = [ROOT / "README.md", *pages("Start", "Tutorials", "How-to guides")]
"""Pages that a reader works along: one without a command is none of them."""
SHOWN = {
    command: path
    for path in [ROOT / "README.md", *DOCS, ROOT / "CONTRIBUTING.md"]
    for command in commands(path)
}
"""Each command once, with the last page that shows it."""


def test_every_written_page_is_in_the_navigation() -> None:
    sections = ("Start", "Tutorials", "How-to guides", "Explanations", "Reference", "Project")
    assert sorted(pages(*sections)) == DOCS


@pytest.mark.parametrize("path", MUST_SHOW, ids=lambda path: path.stem)
def test_a_page_to_work_along_shows_commands(path: Path) -> None:
    assert commands(path)


@pytest.mark.parametrize(
    "command", SHOWN, ids=[f"{path.stem}: {command}" for command, path in SHOWN.items()]
)
def test_a_command_that_a_page_shows_exists(command: str, tmp_path: Path) -> None:
    check(command, SHOWN[command], tmp_path)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_no_command_hides_outside_of_a_block(path: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert (
        re.findall(r"^ {4}(?:[A-Z_]+=\S+ )*(?:\S+/)?(?:python|g2rpo|pip|bash) .*", text, flags=re.M)
        == []
    )


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
