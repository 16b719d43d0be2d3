"""The site: its reference has every key of the configuration, and it builds without a warning."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from config_keys import CONF, Key, choice, choices, groups
from doctests import separated
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from site_pages import group_page, metrics_page, on_page_content

from g2rpo.metric_table import METRICS

ROOT = Path(__file__).parents[1]
KEYS = [key for group in [".", *groups()] for found in choices(group) for key in found.keys]
DOCUMENTED = [
    key
    for group in [".", *groups()]
    if group != "experiment"  # a recipe sets keys that belong to other groups
    for found in choices(group)
    for key in found.keys
]


def test_every_key_of_every_choice_has_a_meaning() -> None:
    assert len(DOCUMENTED) > 400
    assert [f"{key.file}:{key.line} {key.name}" for key in DOCUMENTED if not key.meaning] == []


def test_a_key_is_in_the_line_that_the_reference_names() -> None:
    wrong = []
    for key in KEYS:
        line = (ROOT / key.file).read_text().splitlines()[key.line - 1]
        if f"{key.name.rpartition('.')[2]}:" not in line or key.default.split()[0][:9] not in line:
            wrong.append(key)
    # a folded text begins in the line after its key
    assert {key.name.rpartition(".")[2] for key in wrong} <= {"instruction", "segmentation"}


def _leaves(node: object, name: str = "") -> Iterator[str]:
    """Yield the names of a composed configuration that are no part of Hydra's own."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            if key not in ("_target_", "_partial_", "_recursive_", "hydra"):
                yield from _leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name


def test_the_reference_has_the_keys_that_the_default_configuration_composes_to() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config"), resolve=False)
    chosen: list[Key] = list(choice(".", "config").keys)
    for entry in yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]:
        for group, names in entry.items() if isinstance(entry, dict) else ():
            for name in names if isinstance(names, list) else [names]:
                if name and (CONF / group / f"{name}.yaml").is_file():
                    chosen += choice(group, name).keys
    chosen += [key for found in choices("rows") for key in found.keys]
    chosen += choice("model/adapter", "none").keys
    known = {key.name for key in chosen}
    missing = [
        leaf
        for leaf in _leaves(composed)
        if not any(leaf == name or leaf.startswith(f"{name}.") for name in known)
    ]
    assert missing == []


def test_a_loss_has_the_settings_of_all_losses_and_its_own() -> None:
    keys = {key.name: key for key in choice("loss", "gspo").keys}
    assert keys["loss.kl_coef"].file == "conf/loss/_base.yaml"
    assert (keys["loss.aggregation"].file, keys["loss.aggregation"].default) == (
        "conf/loss/gspo.yaml",
        "seq_mean",
    )
    assert keys["loss.clip_ratio_low"].default == "3e-4"


def test_pages_of_groups_and_metrics_have_all_rows() -> None:
    page = group_page("advantage")
    for found in choices("advantage"):
        assert f"\n## {found.name}\n" in page
        assert all(f"{key.line}</a>" in page for key in found.keys)
    rows = [line for line in metrics_page().splitlines() if line.startswith("| <code>")]
    assert len(rows) == len(METRICS)


def test_commands_and_code_in_comments_of_the_configuration_are_code() -> None:
    page = group_page(".")
    words = "python cold&#95;<wbr>start.<wbr>py resume=F hydra.<wbr>run.<wbr>dir=F"
    assert f"<code>{words}</code>: resumes the killed run in folder F  \n" in page
    assert "imitates <code>completion</code> or <code>messages</code> of records" in page
    assert "<code>step</code> counts optimizer updates" in metrics_page()


def test_code_in_a_cell_breaks_between_words_only() -> None:
    cell = "<td><code>loss.tis_clip=2.0</code> and <code>needle</code></td>"
    shown = on_page_content(f"<p><code>a.b</code></p>{cell}", None, None, None)
    assert shown == (
        "<p><code>a.b</code></p><td><code>loss.<wbr>tis_<wbr>clip=<wbr>2.0</code>"
        " and <code>needle</code></td>"
    )


def test_a_search_finds_a_key_by_its_last_words() -> None:
    plugins = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["plugins"]
    separator = next(plugin["search"]["separator"] for plugin in plugins if "search" in plugin)
    words = re.split(separator, "`loss.clip_ratio_low=0.2` [docs/data.md]")
    assert words == ["`loss", "clip_ratio_low", "0.2`", "docs", "data", "md", ""]


def test_a_list_under_a_line_of_a_docstring_is_a_list() -> None:
    text = "Three faults:\n  - one,\n    which goes on\n  - two\n\nEnd.\n"
    assert separated(text) == text.replace("faults:\n", "faults:\n\n")
    assert separated("- one\n- two\n") == "- one\n- two\n"


def test_every_key_that_a_page_names_exists() -> None:
    defaults = {key.name: key.default for key in KEYS}
    open_ended = tuple(name for name, default in defaults.items() if default[0] in "{n")
    tops = {name.partition(".")[0] for name in defaults}
    unknown = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        if page.name == "migration.md":  # has keys of other libraries; see tests/test_migration.py
            continue
        words = " ".join(re.findall(r"`([^`\n]+)`", page.read_text())).split()
        for word in words:
            found = re.match(r"['\"]?((?:[a-z_]+\.)+[a-z_0-9]+)(?==|['\"]?$)", word)
            if not found or found[1].partition(".")[0] not in tops or Path(word).suffix == ".json":
                continue
            inside = any(name.startswith(f"{found[1]}.") for name in defaults)
            beyond = found[1].startswith(tuple(f"{name}." for name in open_ended))
            if not (inside or beyond or found[1] in defaults or (ROOT / found[1]).exists()):
                unknown.append((page.name, word))
    assert unknown == []


class _Links(HTMLParser):
    """Collects what a page links to or loads, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        for name in ("href", "src"):
            if found.get(name):
                (self.links if tag == "a" else self.loaded).append(found[name])


@pytest.mark.slow
@pytest.mark.process
def test_the_site_builds_without_a_warning_a_broken_link_or_a_foreign_address(
    tmp_path: Path,
) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stderr) == (0, "")
    site = tmp_path / "site"
    pages = {file: _Links(file.read_text()) for file in site.rglob("*.html")}
    assert len(pages) > 300
    broken = []
    for file, page in pages.items():
        if file.name == "404.html":  # its links are absolute, for a server
            continue
        for link in page.loaded + page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https") and link in page.links:
                continue
            to = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchors = pages[to].ids if to in pages else set()
            if not to.exists() or (
                to in pages and parts.fragment and parts.fragment not in anchors
            ):
                broken.append((str(file.relative_to(site)), link))
    assert broken == []
    styles = "".join(file.read_text() for file in site.rglob("*.css"))
    assert re.findall(r"url\((?!data:)[\"']?(?:https?:)?//[^)]*", styles) == []
