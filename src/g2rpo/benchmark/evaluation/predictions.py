"""Predictions on disk: one JSON line per row, appended batch by batch, so that an evaluation that
was killed goes on where it stood.

`<folder>/settings.json` says what the predictions depend on; predictions of other settings are
never mixed with new ones.
"""

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from g2rpo.files import write_whole

IMAGE_KEY = "png_base64"


class PredictionFile:
    """The lines of one benchmark, `<folder>/<benchmark>.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All whole lines, in order; a row written twice counts as it was written last.

        The torn line that a killed writer can leave at the end is cut off the file.
        """
        if not self.path.exists():
            return []
        found: dict[str, dict[str, Any]] = {}
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                row = _object(line, f"{self.path}, line {number}")
                found.pop(row["id"], None)
                found[row["id"]] = row
        if end < self.path.stat().st_size:
            os.truncate(self.path, end)
        return list(found.values())

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows and waits until they are on disk: what was generated once is not generated
        again.
        """
        text = "".join(_line(row) for row in rows)
        if not text:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(text.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """All rows in place of what was there, or none."""
        write_whole(self.path, "".join(_line(row) for row in rows))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if (
            isinstance(row, dict)
            and isinstance(row.get("id"), str)
            and isinstance(row.get("completion"), str)
        ):
            return row
    except ValueError as error:
        raise ValueError(
            f"{where}: not JSON ({error}); remove the line, and its row is generated anew"
        ) from None
    raise ValueError(
        f"{where}: expected an object with id and completion; remove the line, and its row is"
        " generated anew"
    )


def saved_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A benchmark's row as JSON holds it: without the pictures that were shown, so that it can be
    judged again without its source.
    """
    return {str(name): _saved(value) for name, value in row.items() if name != "images"}


def restored_row(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The row again; `images` is empty."""
    return {name: _restored(value) for name, value in saved.items()} | {"images": ()}


def _saved(value: Any) -> Any:
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.save(file, format="PNG")
        return {IMAGE_KEY: base64.b64encode(file.getvalue()).decode()}
    if isinstance(value, Mapping):
        return {str(name): _saved(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_saved(inner) for inner in value]
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and numbers of numpy and torch
        return _saved(value.tolist())
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {IMAGE_KEY}:
            return Image.open(io.BytesIO(base64.b64decode(value[IMAGE_KEY])))
        return {name: _restored(inner) for name, inner in value.items()}
    return [_restored(inner) for inner in value] if isinstance(value, list) else value


def claim_folder(folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Takes a folder for predictions of these settings, or goes on in one that has them already.

    Args:
        folder: Made where it is missing.
        settings: What the completions depend on, as JSON holds it.
        overwrite: Predictions of other settings are removed instead of refused.

    Raises:
        ValueError: naming every setting that differs, with what it was.
    """
    path = folder / "settings.json"
    wanted = json.loads(json.dumps(settings))
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    changed = [
        f"{name} was {earlier.get(name)!r} and is {wanted.get(name)!r}"
        for name in sorted({*earlier, *wanted})
        if earlier.get(name) != wanted.get(name)
    ]
    files = sorted(folder.glob("*.jsonl"))
    if changed and files and not overwrite:
        raise ValueError(
            f"{folder} holds predictions of other settings: {'; '.join(changed)}. "
            "Choose another folder (hydra.run.dir=...), or the old settings to go on there."
        )
    if changed:
        for file in files:
            file.unlink()
        write_whole(path, json.dumps(wanted, indent=2) + "\n")
