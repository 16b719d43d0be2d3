"""Reads pages with the standard library: elements as a tree, text, tables and figures."""

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from g2rpo.report.run_page import write_report

HOSTILE = (
    "</script><script>alert(1)</script><img src=http://example.org/x.png>{{ 7 * 7 }}{% raw"
    " %}&\"'\u2028\U0001f600"
)
VOID = {"meta", "img", "input", "br", "path", "link", "hr"}


class Element:
    """An element with its attributes and, in order, its children: elements and text."""

    def __init__(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tag, self.attributes = tag, attributes
        self.children: list[Element | str] = []

    @property
    def text(self) -> str:
        """All text below, as a reader sees it."""
        return "".join(
            child if isinstance(child, str) else child.text
            for child in self.children
            if getattr(child, "tag", "") != "script"
        )

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Elements below with this tag and these attributes; `kind` is one of the CSS classes."""
        kind = attributes.pop("kind", "")
        return [
            element
            for element in self.walk()
            if tag in ("", element.tag)
            and (not kind or kind in (element.attributes.get("class") or "").split())
            and all(
                element.attributes.get(name.replace("_", "-")) == value
                for name, value in attributes.items()
            )
        ]

    def one(self, tag: str = "", **attributes: str) -> "Element":
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    def walk(self) -> Iterator["Element"]:
        """All elements below, in order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child.walk()

    def rows(self) -> list[list[str]]:
        """The body rows of all tables below, as text."""
        return [
            [cell.text.strip() for cell in row.all("td")] for row in self.all("tr") if row.all("td")
        ]

    def figures(self) -> dict[str, dict[str, Any]]:
        """The data and layout of each figure below, by its title."""
        found = {}
        for plot in self.all("div", kind="plot"):
            (data,) = [child for child in plot.walk() if child.tag == "script"]
            found[str(plot.attributes["aria-label"])] = json.loads(str(data.children[0]))
        return found


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.path = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.path[-1].children.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.path[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.path[-1].tag == tag, f"</{tag}> closes <{self.path[-1].tag}>"
        self.path.pop()

    def handle_data(self, data: str) -> None:
        self.path[-1].children.append(data)


def parsed(html: str) -> Element:
    """The tree of a page whose tags are all closed in their order."""
    tree = _Tree()
    tree.feed(html)
    tree.close()
    assert tree.path == [tree.root], f"<{tree.path[-1].tag}> is not closed"
    return tree.root


def curve(figure: dict[str, Any], name: str) -> list[tuple[float, float | None]]:
    """Steps and values of a curve's points, as hovering shows them."""
    (trace,) = [
        trace for trace in figure["data"] if trace.get("name") == name and "customdata" in trace
    ]
    return list(zip(trace["x"], trace["customdata"], strict=True))


def loaded(page: Element) -> list[str]:
    """What a browser would fetch for the page, besides data inside it."""
    names = ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    values = [
        str(value)
        for element in page.walk()
        for name, value in element.attributes.items()
        if name in names
    ]
    return [value for value in values if not value.startswith(("data:image/", "#"))]


def page_of(folder: Path) -> Element:
    return parsed(write_report(folder).read_text())


def part(page: Element, anchor: str) -> Element:
    return page.one("section", id=anchor)


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_only_own_scripts(page: Element) -> None:
    """Scripts are data, or those whose hashes the content policy lists; nothing is fetched."""
    (policy,) = [
        meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes
    ]
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data: blob:")
    scripts = [
        script
        for script in page.all("script")
        if script.attributes.get("type") != "application/json"
    ]
    hashes = [
        "'sha256-" + b64encode(sha256(str(script.children[0]).encode()).digest()).decode() + "'"
        for script in scripts
    ]
    assert rules["script-src"].split() == hashes
    assert len(hashes) == 2  # plotly.js and the page's own
    assert not {"iframe", "object", "link", "embed", "base"} & {
        element.tag for element in page.walk()
    }
    assert not any(name.startswith("on") for element in page.walk() for name in element.attributes)
