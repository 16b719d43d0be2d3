"""What an index page, a citation and the changelog say about the package is one thing."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from g2rpo import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
URL = PROJECT["project"]["urls"]["Repository"]


def on_an_index_page(text: str) -> str:
    """The README after the substitutions of pyproject.toml."""
    for rule in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_links_and_pictures_of_the_readme_are_absolute_on_an_index_page() -> None:
    text = (ROOT / "README.md").read_text()
    shown = on_an_index_page(text)
    targets = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", text)) > 10
    assert [link for link in targets if not link.startswith(("https://", "#"))] == []
    raw = URL.replace("github.com", "raw.githubusercontent.com")
    assert on_an_index_page("![a](docs/a.png) [b](docs/b.md) [c](https://c.d) [e](#e)") == (
        f"![a]({raw}/main/docs/a.png) [b]({URL}/blob/main/docs/b.md) [c](https://c.d) [e](#e)"
    )


def test_the_version_is_that_of_the_changelog_and_of_the_citation() -> None:
    releases = re.findall(r"^## \[(.+?)\](?: - (.*))?$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    version, date = next(release for release in releases if release[0] != "Unreleased")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == (version, date)
    assert version == __version__
    assert citation["license"] == PROJECT["project"]["license"]


@pytest.mark.parametrize("document", ["README.md", "docs/start/install.md"])
def test_a_wheel_that_a_document_names_has_this_version(document: str) -> None:
    named = re.findall(r"g2rpo-([\d.]+)-py3-none-any\.whl", (ROOT / document).read_text())
    assert set(named) == {__version__}


@pytest.mark.parametrize("document", ["CITATION.cff", "SECURITY.md"])
def test_addresses_are_those_of_the_project(document: str) -> None:
    found = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+", (ROOT / document).read_text())
    assert set(found) == {URL}


def test_the_package_says_that_it_is_typed_and_where_it_belongs() -> None:
    assert (ROOT / "src" / "g2rpo" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {least}" in PROJECT["project"]["classifiers"]
    addresses = PROJECT["project"]["urls"].items()
    assert [name for name, url in addresses if name != "Paper" and not url.startswith(URL)] == []
