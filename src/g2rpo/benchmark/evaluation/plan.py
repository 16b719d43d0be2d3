"""Which rows of a benchmark are used: read from a row source, grouped and subsampled."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, runtime_checkable

from g2rpo.interfaces import Benchmark

log = logging.getLogger("g2rpo")
Row = dict[str, Any]


@runtime_checkable
class RowSource(Protocol):
    """A source of benchmark records."""

    def records(self, benchmark: Benchmark) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Yield the records of a benchmark, each with the place where a person finds it.

        Every process gets the same records in the same order.
        """


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rows of an evaluation, in groups that count together; most groups are one row."""

    benchmark: Benchmark
    groups: list[list[Row]]
    unusable: list[str]
    """Records without a usable row, each with its place and the reason."""
    available: int
    """Number of records in the source, including unusable ones."""

    @property
    def num_rows(self) -> int:
        """Number of rows in the plan."""
        return sum(map(len, self.groups))

    def subscores(self) -> list[list[str]]:
        """Return the names of the sub-scores of each group."""
        return [
            sorted({name for row in group for name in self.benchmark.subscores(row)})
            for group in self.groups
        ]


def make_plan(
    benchmark: Benchmark,
    source: RowSource,
    *,
    limit: int | None,
    seed: int,
    max_unusable_frac: float,
) -> Plan:
    """Read a benchmark's rows and draw whole groups of up to `limit` rows.

    A larger limit uses the same rows and more.

    Args:
        benchmark: The benchmark whose rows are read.
        source: Where the records come from.
        limit: Maximum number of rows; None for all.
        seed: Seeds the draw.
        max_unusable_frac: Largest fraction of the records that may be unusable, in [0, 1].

    Raises:
        RuntimeError: If there is no row, or if too many records are unusable; names the first one.
    """
    groups: dict[str, list[Row]] = {}
    unusable: list[str] = []
    ids: set[str] = set()
    available = 0
    for place, record in source.records(benchmark):
        available += 1
        try:
            row = benchmark.row(record)
            if str(row["id"]) in ids:
                raise ValueError(f"id: {row['id']!r} occurs a second time")
        except Exception as error:  # noqa: BLE001  a plug-in on a stranger's record: counted, shown
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            unusable.append(f"{place}: {kind}{error}")
            log.warning("%s: left out %s", benchmark.name, unusable[-1])
            continue
        ids.add(str(row["id"]))
        groups.setdefault(benchmark.group(row), []).append(row)
    check_unusable(benchmark.name, unusable, available, max_unusable_frac)
    if not groups:
        raise RuntimeError(
            f"{benchmark.name}: the row source has no rows of it; choose other rows (eval.rows) or"
            " leave it out of eval.benchmarks"
        )
    return Plan(
        benchmark=benchmark,
        groups=draw_groups(list(groups.values()), limit, f"{seed}/{benchmark.name}"),
        unusable=unusable,
        available=available,
    )


def check_unusable(
    name: str, unusable: Sequence[str], available: int, max_unusable_frac: float
) -> None:
    """Raise `RuntimeError` if too many records are unusable; the message names the first one."""
    if len(unusable) > max_unusable_frac * available:
        raise RuntimeError(
            f"{name}: {len(unusable)} of {available} rows cannot be used, more than"
            f" eval.max_unusable_frac={max_unusable_frac:g} allows. First: {unusable[0]}"
        )


def draw_groups(groups: list[list[Row]], limit: int | None, seed: str) -> list[list[Row]]:
    """Draw whole groups of up to `limit` rows, at least one group, and keep their order.

    Equal seeds draw the same groups.
    """
    if limit is None:
        return groups
    order = list(range(len(groups)))
    Random(seed).shuffle(order)  # noqa: S311
    taken, rows = [], 0
    for place in order:
        if taken and rows + len(groups[place]) > limit:
            break
        taken.append(place)
        rows += len(groups[place])
    return [groups[place] for place in sorted(taken)]
