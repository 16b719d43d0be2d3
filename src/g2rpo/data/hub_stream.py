"""Prompts from a streamed data set, for sets that are too large to store or to index first.

Every pass over the set is one epoch, in the set's order or shuffled in a window. The stream starts
over at its end, so its size is unlimited; a resumed run reads past the rows that it had used.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from g2rpo.data.hub_columns import HubColumns
from g2rpo.data.hub_source import hub_prompt, loaded, undecoded, usable_rows
from g2rpo.data.loading import Loading
from g2rpo.data.row_format import RowFormat
from g2rpo.data.skips import Skips
from g2rpo.records import Prompt

LISTED_ROWS = 1000
"""Rows at the beginning in which tasks are looked for."""
KEPT = 256
"""Rows of each task that are kept after use, because reading ahead asks for a row twice."""
HELDOUT_ROWS = 48
"""Rows of the held-out split that are read, as a multiple of the prompts of each task."""


class HubStream:
    """Prompts of a streamed data set; held-out prompts come from a split of their own.

    Args:
        path: Hub id, a folder, or a format with `data_files`.
        columns: See `HubColumns`.
        format: Reads the rows, whose fields have our names.
        name: Configuration (subset) of the data set.
        split: Split to train on.
        heldout_split: Split of the held-out prompts; None holds out none.
        data_files: As in `datasets.load_dataset`.
        values: See `HubColumns`.
        root: See `HubColumns`.
        shuffle_rows: Size of the shuffle buffer in rows; 0 keeps the set's order.
        waiting_rows: Maximum number of rows of other tasks that are kept while searching for a row
            of a rare task.
        loading: Reads the images; None uses the defaults.
        heldout: Maximum number of held-out prompts of each task.
        on_error: `raise` at the first unusable record, or `skip` those, counted and listed in
            summary.json.
        seed: Seeds the shuffling.
        check_golds: 0 checks no gold answer before training; otherwise the first of each task are
            checked.
    """

    def __init__(
        self,
        *,
        path: str,
        columns: Mapping[str, str],
        format: RowFormat,
        name: str | None = None,
        split: str = "train",
        heldout_split: str | None = None,
        data_files: Any = None,
        values: Mapping[str, Any] | None = None,
        root: str | None = None,
        shuffle_rows: int = 0,
        waiting_rows: int = 10_000,
        loading: Loading | None = None,
        heldout: int = 64,
        on_error: str = "raise",
        seed: int = 0,
        check_golds: int = 20_000,
    ) -> None:
        self.check_golds = check_golds
        for key, value in (
            ("heldout", heldout),
            ("shuffle_rows", shuffle_rows),
            ("waiting_rows", waiting_rows),
        ):
            if value < 0:
                raise ValueError(f"data.{key}: expected 0 or more, got {value}")
        self.columns = HubColumns(columns=columns, values=values, root=root)
        self.columns.check_fields(format)
        self.format = format
        self.loading = loading or Loading()
        self.skips = Skips(on_error=on_error)
        self.label, self.seed = f"{path}:{split}", seed
        self.shuffle_rows, self.waiting_rows = shuffle_rows, waiting_rows
        self._rows = undecoded(loaded(path, name, split, data_files, streaming=True))
        if self._rows.column_names:
            self.columns.check_against(self._rows.column_names)
        self._heldout: dict[str, list[Prompt]] = defaultdict(list)
        if heldout_split and heldout:
            held = undecoded(loaded(path, name, heldout_split, data_files, streaming=True))
            self._fill_heldout(held, heldout, f"{path}:{heldout_split}")
        self._rewind()
        self._tasks = self._listed()

    def size(self, task: str, split: str) -> int | None:
        """Return None for training prompts, because the stream starts over."""
        return None if split == "train" else len(self._heldout.get(task, ()))

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task.

        The stream is read up to it, or again from the start if it is no longer kept.
        """
        if split == "heldout":
            return self._heldout[task][index]
        if index < self._gone[task]:
            self._rewind()
        while index >= self._gone[task] + len(self._waiting[task]):
            self._read_one(task)
        prompt = self._waiting[task][index - self._gone[task]]
        while index - self._gone[task] > KEPT:
            self._waiting[task].popleft()
            self._gone[task] += 1
        return prompt

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the first rows, and of the held-out ones."""
        return self._tasks

    def _fill_heldout(self, rows: Any, count: int, label: str) -> None:
        seen = islice(rows, count * HELDOUT_ROWS)
        for number, task, record in usable_rows(seen, self.columns, self.format, self.skips, label):
            if len(self._heldout[task]) < count:
                self._heldout[task].append(
                    hub_prompt(self.columns, self.format, record, number, label)
                )

    def _rewind(self) -> None:
        self._waiting: dict[str, deque[Prompt]] = defaultdict(deque)
        self._gone: dict[str, int] = defaultdict(int)
        self._stream = self._passes()

    def _listed(self) -> tuple[str, ...]:
        """Look at the first rows and return the tasks known so far."""
        first = islice(self._rows, LISTED_ROWS)
        unreported = Skips(on_error="skip", quiet=True)  # training reads the same rows again
        rows = usable_rows(first, self.columns, self.format, unreported, self.label)
        return tuple(sorted({*self._heldout, *(task for _, task, _ in rows)}))

    def _passes(self) -> Iterator[tuple[str, Prompt] | None]:
        """Yield prompts with their tasks without end, and None between two passes."""
        epoch = 0
        while True:
            rows = (
                self._rows.shuffle(seed=self.seed, buffer_size=self.shuffle_rows)
                if self.shuffle_rows
                else self._rows
            )
            rows.set_epoch(epoch)
            # later passes would report the same rows again
            skips = self.skips if epoch == 0 else Skips(on_error="skip")
            for number, task, record in usable_rows(
                rows, self.columns, self.format, skips, self.label
            ):
                prompt = hub_prompt(
                    self.columns, self.format, record, number, f"{self.label}/{epoch}"
                )
                yield task, prompt
            yield None
            epoch += 1

    def _read_one(self, task: str) -> None:
        """Read on until there is one more prompt of a task."""
        passes = 0
        while True:
            found = next(self._stream)
            if found is None:
                passes += 1
                if passes == 2:
                    raise ValueError(
                        f"{self.label}: no usable row of {task} in a whole pass; set"
                        f" task_mix.weights.{task}=0"
                    )
                continue
            self._waiting[found[0]].append(found[1])
            if found[0] == task:
                return
            used = KEPT * len(self._waiting)
            if sum(map(len, self._waiting.values())) > self.waiting_rows + used:
                raise ValueError(
                    f"{self.label}: {self.waiting_rows} rows went by before one of {task}; lower"
                    f" task_mix.weights.{task}, raise data.waiting_rows (memory), or use data=hub,"
                    " which looks through all rows first"
                )
