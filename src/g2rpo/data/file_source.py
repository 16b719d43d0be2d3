"""Prompts from JSON and JSON Lines files. Every record is looked at once, at the start; afterwards
one is read when its turn comes.
"""

import logging
import time
from array import array
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from g2rpo.data.conversation import unfolded
from g2rpo.data.fields import Notes
from g2rpo.data.loading import Loading
from g2rpo.data.record_images import images_in, located, refuse_outside
from g2rpo.data.row_format import RowFormat
from g2rpo.data.rows import BadRecord, Place, read_row, rows_of
from g2rpo.data.skips import Skips
from g2rpo.data.splits import check_counts, check_new, others, split_rows
from g2rpo.records import Prompt

log = logging.getLogger("g2rpo")


class FileSource:
    """Prompts of some files, told apart by task. A share of each task is held out, the same for the
    same files and seed.

    Args:
        files: One path or several, relative to the working directory or to `root`.
        root: Folder that image paths are relative to.
        format: Reads the rows.
        heldout: Maximum number of held-out prompts of each task, at most a tenth of the task.
        loading: Reads the images; None uses the defaults.
        on_error: `raise` at the first unusable record, or `skip` those, counted and listed in
            summary.json.
        seed: Determines which prompts are held out.
        check_golds: Maximum number of records whose gold answers go through the reward before
            training; 0 checks none.
    """

    def __init__(
        self,
        *,
        files: str | Sequence[str],
        root: str,
        format: RowFormat,
        loading: Loading | None = None,
        heldout: int = 64,
        on_error: str = "raise",
        seed: int = 0,
        check_golds: int = 20_000,
    ) -> None:
        check_counts(heldout, check_golds)
        self.check_golds = check_golds
        self.skips = Skips(on_error=on_error)
        self.root = Path(root)
        if not self.root.is_dir():
            raise ValueError(f"data.root: no such folder: {root}")
        self.files = [
            self._found(Path(path)) for path in ([files] if isinstance(files, str) else files)
        ]
        self.names = _short_names(self.files)
        self.format = format
        self.loading = loading or Loading()
        # file, start, length and line of each usable row, by task: 22 bytes a row instead of the
        # row
        self._places: dict[str, tuple[array[int], ...]] = {}
        self._index()
        self._splits = {
            task: split_rows(len(columns[0]), heldout, f"{seed}/{task}")
            for task, columns in self._places.items()
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the records."""
        return tuple(sorted(self._splits))

    def size(self, task: str, split: str) -> int:
        """Return the number of usable prompts."""
        return len(self._splits[task][split]) if task in self._splits else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task."""
        row = self._splits[task][split][index]
        file, start, length, line = (column[row] for column in self._places[task])
        path = self.files[file]
        content = read_row(path, Place(start, length, line))
        key = self.format.key(content)
        name = f"{self.names[file]}/{f'line-{line}' if key is None else key}"
        prompt = self.format.prompt(content, id=name, meta={"file": str(path), "line": line})
        return replace(prompt, images=tuple(located(image, self.root) for image in prompt.images))

    def leave_out(self, task: str, split: str, indices: Collection[int]) -> None:
        """Stop serving these prompts; the other prompts of the task and split are renumbered."""
        self._splits[task][split] = others(self._splits[task][split], indices)

    def _found(self, path: Path) -> Path:
        found = next((place for place in (path, self.root / path) if place.is_file()), None)
        if found is None:
            raise ValueError(
                f"data.files: no such file: {path}, neither here nor in data.root={self.root}"
            )
        return found

    def _index(self) -> None:
        for number, path in enumerate(self.files):
            seen: set[int] = set()
            notes = Notes()
            start_s = time.perf_counter()
            rows = 0
            for place, row in rows_of(path):
                rows += 1
                task = "unknown"
                try:
                    if isinstance(row, BadRecord):
                        raise row
                    task = self.format.task(row)
                    self.format.check(row)
                    refuse_outside(images_in(unfolded(row)), self.root)
                    check_new(self.format.key(row), seen)
                    notes.look(self.format, row)
                except BadRecord as error:
                    words = str(error)
                    self.skips.unusable(
                        task,
                        (
                            words
                            if words.startswith(f"{path}, ")
                            else f"{path}, line {place.line}: {words}"
                        ),
                    )
                    continue
                files, starts, lengths, lines = self._places.setdefault(
                    task, tuple(array(code) for code in "hqiq")
                )
                files.append(number)
                starts.append(place.start)
                lengths.append(place.length)
                lines.append(place.line)
            for line in notes.lines(str(path)):
                log.warning("%s", line)
            skipped = self.skips.unusable_prompts.total()
            log.info(
                "%s: %d records, %d left out so far, %.1f s",
                path,
                rows,
                skipped,
                time.perf_counter() - start_s,
            )


def _short_names(files: Sequence[Path]) -> list[str]:
    """What prompt ids begin with: a file's name, or its whole path where two files have one
    name.
    """
    stems = [path.stem for path in files]
    return [str(path) if stems.count(path.stem) > 1 else path.stem for path in files]
