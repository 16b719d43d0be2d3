"""A folder of your own: one record per line in `<benchmark>.jsonl`, or a JSON list.

Image paths are relative to the file.
"""

from codecs import BOM_UTF8 as BOM
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from g2rpo.benchmark.rows.record import Placed, Unreadable, existing, numbered, with_images
from g2rpo.data.rows import read_json
from g2rpo.interfaces import Benchmark


class FolderRows:
    """Records of the files that the pattern `files` names.

    In the pattern, `{benchmark}` stands for the benchmark's name. If no such file exists, the names
    of
    a published folder are tried, which the benchmark's `sources.folder.files` lists. If a pattern
    contains `*`, records without a split get the end of the file's name: `eval_refcoco_testA.json`.
    """

    def __init__(self, *, folder: str, files: str = "{benchmark}.jsonl") -> None:
        self.folder = Path(folder).expanduser()
        self.files = files
        if "{benchmark}" not in files:
            raise ValueError(
                "eval.rows.files: expected a pattern with {benchmark}, as in"
                f" {{benchmark}}.jsonl, got {files!r}"
            )

    def records(self, benchmark: Benchmark) -> Iterator[Placed]:
        """Yield every record of the benchmark's files, in the order of the file names.

        Records without an id get their number as `index`.
        """
        published = getattr(benchmark, "sources", {}).get("folder", {}).get("files")
        patterns = [
            self.files.replace("{benchmark}", benchmark.name),
            *([published] if published else []),
        ]
        pattern, paths = next(
            ((p, found) for p in patterns if (found := sorted(self.folder.glob(p)))), ("", [])
        )
        if not paths:
            raise ValueError(
                f"eval.rows.folder: no file {' or '.join(patterns)} in {self.folder} for benchmark"
                f" {benchmark.name}"
            )
        number = 0
        for path in paths:
            for place, columns in _objects(path):
                added = {"split": path.stem.rpartition("_")[2]} if "*" in pattern else {}
                yield place, _record(columns, added, path.parent, number)
                number += 1


def _record(columns: Any, added: Mapping[str, Any], folder: Path, number: int) -> Mapping[str, Any]:
    if isinstance(columns, Unreadable):
        return columns
    if not isinstance(columns, dict):
        return Unreadable(f"expected an object, got {type(columns).__name__}")

    def mend(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [mend(name, item) for item in value]
        return existing(folder / value) if isinstance(value, str) and value else value

    return with_images({**added, **numbered(columns, number)}, mend)


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        if file.read(4096).removeprefix(BOM).lstrip().startswith(b"["):
            file.seek(0)
            try:
                items = read_json(file.read().decode("utf-8-sig"))
            except ValueError as error:
                raise ValueError(f"{path}: not JSON ({error}); fix the file") from None
            yield from (
                (f"{path.name}, record {number}", item) for number, item in enumerate(items, 1)
            )
            return
        file.seek(0)
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path.name}, line {number}", _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        return read_json(line.decode("utf-8-sig"))
    except ValueError as error:
        return Unreadable(f"not JSON ({error})")
