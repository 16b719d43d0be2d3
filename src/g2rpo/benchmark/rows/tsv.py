"""VLMEvalKit's TSV files: one per data set, with images as base64 cells or as paths.

They are read with `csv` instead of pandas: "None", "NA" and "nan" are answers and stay text. An
empty cell is None.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from g2rpo.benchmark.rows.record import (
    ImageStore,
    Placed,
    Unreadable,
    existing,
    passes,
    with_images,
)
from g2rpo.interfaces import Benchmark

LONGEST_INDEX = 64
"""In characters. A shorter image cell is the `index` of another row that has the same image."""
LONGEST_CELL = 2**31 - 1
_LISTED = re.compile(r"""["']([^"']*+)["']""")


class TsvRows:
    """Records of `<folder>/<file>.tsv`, where `file` is what the benchmark's `sources.tsv` names.

    Embedded images are written to `images` once; paths in `image_path` are relative to `folder`.
    """

    def __init__(self, *, folder: str, images: str) -> None:
        self.folder = Path(folder).expanduser()
        self.images = ImageStore(images)
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))

    def records(self, benchmark: Benchmark) -> Iterator[Placed]:
        """Yield every record of the benchmark; rows that wait for a later image come last."""
        address = getattr(benchmark, "sources", {}).get("tsv")
        if not address:
            raise ValueError(
                f"benchmark {benchmark.name} names no TSV file: set benchmark.sources.tsv.file, or"
                " choose other rows"
            )
        path = self.folder / f"{address['file']}.tsv"
        if not path.is_file():
            there = (
                ", ".join(sorted(file.name for file in self.folder.glob("*.tsv"))) or "no TSV file"
            )
            raise ValueError(
                f"eval.rows.folder: benchmark {benchmark.name} needs {path}; the folder has {there}"
            )
        where = address.get("where", {})
        shown: dict[str, Any] = {}
        waiting: list[tuple[str, dict[str, Any]]] = []
        for place, columns in self._lines(path):
            if isinstance(columns, Unreadable):
                yield place, columns
                continue
            cell = columns.get("image")
            if cell is not None and len(cell) <= LONGEST_INDEX and cell not in shown:
                waiting.append((place, columns))
                continue
            record = self._record(columns, shown)
            if cell is not None and not isinstance(record, Unreadable):
                shown[str(columns.get("index"))] = record["image"]
            if passes(columns, where):
                yield place, record
        yield from (
            (place, self._record(columns, shown))
            for place, columns in waiting
            if passes(columns, where)
        )

    def _lines(self, path: Path) -> Iterator[tuple[str, dict[str, Any] | Unreadable]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t")
            try:
                names = next(reader, [])
                if "question" not in names:
                    raise ValueError(
                        f"{path}, line 1: expected the names of the columns, among them question,"
                        f" got {names[:20]}"
                    )
                line = reader.line_num + 1
                for cells in reader:
                    place, line = f"{path.name}, line {line}", reader.line_num + 1
                    if len(cells) != len(names):
                        yield place, Unreadable(f"expected {len(names)} cells, got {len(cells)}")
                    else:
                        yield (
                            place,
                            {name: cell or None for name, cell in zip(names, cells, strict=True)},
                        )
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{path}, after line {reader.line_num}: {error}; download the file again"
                ) from error

    def _record(self, columns: dict[str, Any], shown: dict[str, Any]) -> Mapping[str, Any]:
        # Next to an embedded image, image_path is only the name of a file VLMEvalKit would write.
        if columns.get("image") is not None:
            columns = {name: value for name, value in columns.items() if name != "image_path"}

        def mend(name: str, value: str) -> Any:
            if name.endswith("path"):
                return (
                    [existing(self.folder / path) for path in _listed(value)]
                    if value.startswith("[")
                    else existing(self.folder / value)
                )
            if len(value) <= LONGEST_INDEX:
                if value not in shown:
                    raise ValueError(
                        f"image: the row with index {value!r}, whose image this row has too, is not"
                        " there or is broken"
                    )
                return shown[value]
            cells = _listed(value) if value.startswith("[") else [value]
            paths = [self.images.keep_base64(cell) for cell in cells]
            return paths if value.startswith("[") else paths[0]

        return with_images(columns, mend)


def _listed(cell: str) -> list[str]:
    """Return the strings in a cell that is written as a list."""
    return _LISTED.findall(cell)
