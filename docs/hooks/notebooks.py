"""Notebooks as pages: text, code, and the outputs that are stored in the file."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by their names beside the page."""
    pictures: dict[str, bytes] = {}
    lines: list[str] = []
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "markdown":
            lines += [_text(cell["source"]), ""]
            continue
        lines += ["```python", _text(cell["source"]), "```", ""]
        for output in cell["outputs"]:
            lines += _output(output, f"{path.stem}_{number}.png", pictures)
    lines += [f'<a href="{path.name}" download>This page as a notebook</a>', ""]
    return "\n".join(lines), pictures


def _output(output: dict[str, Any], name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    data = output.get("data", {})
    if "image/png" in data:
        pictures[name] = base64.b64decode(data["image/png"])
        yield f"![output of the code above]({name})"
        yield ""
    elif text := output.get("text") or data.get("text/plain"):
        yield from ("```text", _text(text), "```", "")


def _text(source: str | list[str]) -> str:
    return "".join(source).rstrip("\n")
