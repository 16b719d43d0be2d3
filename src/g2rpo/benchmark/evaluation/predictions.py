"""Predictions on disk: one JSON line per row, appended per batch.

A killed evaluation resumes from them. `<folder>/settings.json` holds the settings that predictions
depend on. Predictions of different settings are never mixed.
"""

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from g2rpo.files import write_whole, writing

IMAGE_KEY = "png_base64"


class PredictionFile:
    """The predictions of one benchmark in `<folder>/<benchmark>.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return all complete lines in order; if a row occurs twice, the later line counts.

        A partial last line, left by a killed run, is cut off the file.
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
        """Append rows and wait until they are on disk, so that nothing is generated twice."""
        text = "".join(_line(row) for row in rows)
        if not text:
            return
        with writing(self.path):
            self._append(text)

    def _append(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(text.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the content of the file atomically."""
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
            f"{where}: not JSON ({error}); remove the line, and its row is generated again"
        ) from None
    raise ValueError(
        f"{where}: expected an object with id and completion; remove the line, and its row is"
        " generated again"
    )


def saved_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a benchmark's row to JSON values, without its images.

    The result is enough to score the row again without its source.
    """
    return {str(name): _saved(value) for name, value in row.items() if name != "images"}


def restored_row(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a saved row back; `images` is empty."""
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
    """Reserve a folder for predictions, or continue in one that has the same settings.

    Args:
        folder: Folder of the predictions; created if missing.
        settings: What the completions depend on, as JSON values.
        overwrite: Whether predictions of different settings are removed instead of refused.

    Raises:
        ValueError: If the folder holds predictions of different settings; names every difference.
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
