"""Prompts from any data set of the `datasets` library, on the Hub or in a folder.

Rows are memory-mapped, not loaded; images stay encoded until their prompt is used.
"""

import logging
import time
from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from g2rpo.data.arrow_rows import records_of
from g2rpo.data.conversation import unfolded
from g2rpo.data.fields import Notes, columns_in, is_media
from g2rpo.data.hub_columns import HubColumns
from g2rpo.data.loading import Loading
from g2rpo.data.record_images import IMAGE_FIELDS, images_in, located, refuse_outside
from g2rpo.data.row_format import RowFormat
from g2rpo.data.rows import BadRecord
from g2rpo.data.skips import Skips
from g2rpo.data.splits import check_counts, check_new, others, split_rows
from g2rpo.records import Prompt

log = logging.getLogger("g2rpo")


class HubSource:
    """Prompts of one split of a data set, told apart by task; some of each are held out.

    Args:
        path: Hub id, a folder that `datasets` can read or has saved, or a format (`json`,
            `parquet`, ...) with `data_files`.
        columns: See `HubColumns`.
        format: Reads the rows, whose fields have our names.
        name: Configuration (subset) of the data set.
        split: Split to train on.
        data_files: As in `datasets.load_dataset`.
        values: See `HubColumns`.
        root: See `HubColumns`.
        loading: Reads the images; None uses the defaults.
        heldout: Maximum number of held-out prompts of each task, at most a tenth of the task.
        on_error: `raise` at the first unusable record, or `skip` those, counted and listed in
            summary.json.
        seed: Determines which prompts are held out.
        check_golds: Maximum number of records whose gold answers go through the reward before
            training; 0 checks none.
    """

    def __init__(
        self,
        *,
        path: str,
        columns: Mapping[str, str],
        format: RowFormat,
        name: str | None = None,
        split: str = "train",
        data_files: Any = None,
        values: Mapping[str, Any] | None = None,
        root: str | None = None,
        loading: Loading | None = None,
        heldout: int = 64,
        on_error: str = "raise",
        seed: int = 0,
        check_golds: int = 20_000,
    ) -> None:
        check_counts(heldout, check_golds)
        self.check_golds = check_golds
        self.columns = HubColumns(columns=columns, values=values, root=root)
        self.format = format
        self.loading = loading or Loading()
        self.skips = Skips(on_error=on_error)
        self.label = f"{path}:{split}"
        self._rows = undecoded(loaded(path, name, split, data_files))
        self.columns.check_fields(format)
        self.columns.check_against(self._rows.column_names)
        self._places: dict[str, array[int]] = {}
        self._index()
        self._splits = {
            task: split_rows(len(places), heldout, f"{seed}/{task}")
            for task, places in self._places.items()
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the rows."""
        return tuple(sorted(self._splits))

    def size(self, task: str, split: str) -> int:
        """Return the number of usable prompts."""
        return len(self._splits[task][split]) if task in self._splits else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task."""
        number = self._places[task][self._splits[task][split][index]]
        return hub_prompt(self.columns, self.format, self._rows[number], number, self.label)

    def without_images(self, task: str, index: int, split: str) -> Prompt:
        """Return the same prompt as `get` without its images, which take long to fetch."""
        number = self._places[task][self._splits[task][split][index]]
        return hub_prompt(self.columns, self.format, self._texts[number], number, self.label)

    def leave_out(self, task: str, split: str, indices: Collection[int]) -> None:
        """Serve these prompts no longer; the others of their task and split close up."""
        self._splits[task][split] = others(self._splits[task][split], indices)

    def _index(self) -> None:
        start_s = time.perf_counter()
        read = sorted({*self.columns.columns.values()})
        fields = {column: field for field, column in self.columns.columns.items()}
        pictures = [
            column
            for column in self._rows.column_names
            if fields.get(column) in IMAGE_FIELDS or (column not in fields and is_media(column))
        ]
        self._texts = self._rows.remove_columns(pictures)
        records = records_of(self._rows.select_columns(read))
        notes = Notes()
        for number, task, record in usable_rows(
            records, self.columns, self.format, self.skips, self.label
        ):
            self._places.setdefault(task, array("q")).append(number)
            notes.look(self.format, self.columns.row(record))
        for line in notes.lines(self.label):
            log.warning("%s", line)
        if unread := sorted({*self._rows.column_names} - {*read}):
            log.info(
                "%s: columns that nothing but reward=functions reads: %s",
                self.label,
                ", ".join(unread),
            )
        skipped = self.skips.unusable_prompts.total()
        log.info(
            "%s: %d rows, %d left out, %.1f s",
            self.label,
            len(self._rows),
            skipped,
            time.perf_counter() - start_s,
        )


def hub_prompt(
    columns: HubColumns, format: RowFormat, record: Mapping[str, Any], number: int, label: str
) -> Prompt:
    """Return the prompt of a usable record."""
    row = columns.row(record)
    key = format.key(row)
    prompt = format.prompt(
        row, id=f"{label}/{number if key is None else key}", meta={"file": label, "line": number}
    )
    return replace(
        prompt,
        images=tuple(located(image, columns.root) for image in prompt.images),
        columns=columns_in(record),
    )


def loaded(
    path: str, name: str | None, split: str, data_files: Any, *, streaming: bool = False
) -> Any:
    """Load the data set; a `ValueError` says what to do if that fails."""
    import datasets  # half a second that a run on the gym does not need

    if Path(path).is_file():
        kind = {".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow"}.get(
            Path(path).suffix, "parquet"
        )
        raise ValueError(
            f"data.path: expected a Hub id, a folder or a format, got the file {path}; use"
            f" data.path={kind} data.data_files={path}"
        )
    try:
        if (Path(path) / "state.json").is_file():
            return datasets.load_from_disk(path)
        return datasets.load_dataset(
            path, name, split=split, data_files=data_files, streaming=streaming
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        given = (
            f"data.path={path}" + (f" data.name={name}" if name else "") + f" data.split={split}"
        )
        raise ValueError(f"{given}: {str(error).strip().splitlines()[0]}") from error


def undecoded(rows: Any) -> Any:
    """Return the same data set with images left encoded."""
    import datasets

    def plain(feature: Any) -> Any:
        if isinstance(feature, datasets.Image):
            return datasets.Image(decode=False)
        return (
            datasets.List(plain(feature.feature)) if isinstance(feature, datasets.List) else feature
        )

    for column, feature in (rows.features or {}).items():
        if plain(feature) != feature:
            rows = rows.cast_column(column, plain(feature))
    return rows


def usable_rows(
    rows: Any, columns: HubColumns, format: RowFormat, skips: Skips, label: str
) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Yield number, task and record of every usable row, in order; report the others."""
    seen: set[int] = set()
    for number, record in enumerate(rows):
        task = "unknown"
        try:
            row = columns.row(record)
            task = format.task(row)
            format.check(row)
            refuse_outside(images_in(unfolded(row)), columns.root)
            check_new(format.key(row), seen)
        except BadRecord as error:
            reason = columns.with_columns(str(error))
            skips.unusable(task, f"{label}, row {number}: {reason}")
            continue
        yield number, task, record
