"""Tables of the explanations: made by a script, and put between its marks in a page.

A mark is `<!-- perf/script.py 1 -->`, the number is that of the table; `<!-- end -->` ends it.
"""

import re
from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(page: Path, script: str, tables: Sequence[str]) -> str:
    """Return the text of a page with these tables behind the marks of a script."""
    text = page.read_text()
    for number, one in enumerate(tables, start=1):
        mark = f"<!-- perf/{script} {number} -->"
        text, found = re.subn(
            rf"{mark}.*?<!-- end -->",
            lambda _, mark=mark, one=one: f"{mark}\n\n{one}\n\n<!-- end -->",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{page}: expected {mark} once, got it {found} times")
    return text
