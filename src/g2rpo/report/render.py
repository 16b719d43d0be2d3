"""Pages as one string: jinja2 templates with autoescape, with style and scripts inside."""

import math
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

TEXT_LIMIT = 3000
"""Characters of a text that a page shows; a longer one loses its middle: answers come last."""
Cell = str | Mapping[str, str]
"""A cell of a table: text, `text` with a CSS class `kind` or a link `href`, or a `task`."""


def render(template: str, *, title: str, palette: Mapping[str, str], **context: Any) -> str:
    """Return a whole page that loads nothing. Every value is escaped by jinja2.

    `palette` has the color of each task of the page. The content policy names the scripts by their
    hashes, so that no other script can run.
    """
    scripts = {"plotly": _plotly(), "script": _asset("page.js")}
    page = _environment().get_template(template)
    return page.render(
        title=title,
        palette=palette,
        contents=[],
        policy=_policy(tuple(scripts.values())),
        css=_asset("page.css"),
        **scripts,
        **context,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("g2rpo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {"shorten": shorten_middle}
    return environment


def _asset(name: str) -> Markup:
    return Markup((files("g2rpo.report") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704 - our own file


@cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())  # noqa: S704 - the library itself


@cache
def _policy(scripts: tuple[str, ...]) -> str:
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    return (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes}"
    )


def task_cell(task: str) -> Cell:
    """Return the cell of a task, in its color."""
    return {"task": task}


def change_cell(value: float) -> Cell:
    """Return a number with its sign; the page colors it.

    >>> change_cell(0.1), change_cell(-0.0251), change_cell(float("nan"))
    ({'text': '+0.100', 'kind': 'up'}, {'text': '-0.025', 'kind': 'down'}, '-')
    """
    if not math.isfinite(value):
        return "-"
    return {"text": f"{value:+.3f}", "kind": "up" if value > 0 else "down" if value < 0 else ""}


def score_text(value: float) -> str:
    """Return three decimals, or a dash for a missing number.

    >>> score_text(0.61249), score_text(float("nan"))
    ('0.612', '-')
    """
    return f"{value:.3f}" if math.isfinite(value) else "-"


def share_text(value: float) -> str:
    """Return whole percent, or a dash for a missing number.

    >>> share_text(0.254), share_text(float("nan"))
    ('25%', '-')
    """
    return f"{value:.0%}" if math.isfinite(value) else "-"


def duration_text(seconds: float) -> str:
    """Return seconds for short times, minutes and hours for long ones.

    >>> duration_text(8.25), duration_text(372), duration_text(7322)
    ('8.2 s', '6 min 12 s', '2 h 02 min')
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def shorten_middle(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return the text, without its middle if it is longer than `limit` characters.

    >>> shorten_middle("abcdefghij", 6)
    'abc [... 4 characters left out ...] hij'
    """
    half = limit // 2
    if len(text) <= limit:
        return text
    return f"{text[:half]} [... {len(text) - 2 * half} characters left out ...] {text[-half:]}"
