"""Which rows of a benchmark are asked: read from a row source, grouped, thinned out by whole
groups, the unusable ones named.
"""

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
    """Where records of benchmarks come from."""

    def records(self, benchmark: Benchmark) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Records of a benchmark with the place each stands at, as a person finds it. The same in
        every process.
        """


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rows that are asked, in groups that count together; most groups are one row."""

    benchmark: Benchmark
    groups: list[list[Row]]
    unusable: list[str]
    """Records without a usable row, each with its place and the reason."""
    available: int
    """Records of the source, the unusable ones included."""

    @property
    def num_rows(self) -> int:
        """Rows that are asked."""
        return sum(map(len, self.groups))

    def subscores(self) -> list[list[str]]:
        """Names of the sub-scores of each group."""
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
    """Reads a benchmark's rows and takes whole groups up to `limit` rows: a larger limit asks the
    same rows and more.

    Raises:
        RuntimeError: when there is no row, or when more than `max_unusable_frac` of the records
            cannot be used; names the first.
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
        except ValueError as error:
            unusable.append(f"{place}: {error}")
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
        groups=thinned(list(groups.values()), limit, f"{seed}/{benchmark.name}"),
        unusable=unusable,
        available=available,
    )


def check_unusable(
    name: str, unusable: Sequence[str], available: int, max_unusable_frac: float
) -> None:
    """Raises `RuntimeError` when too many records cannot be used, naming the first."""
    if len(unusable) > max_unusable_frac * available:
        raise RuntimeError(
            f"{name}: {len(unusable)} of {available} rows cannot be used, more than"
            f" eval.max_unusable_frac={max_unusable_frac:g} allows. First: {unusable[0]}"
        )


def thinned(groups: list[list[Row]], limit: int | None, seed: str) -> list[list[Row]]:
    """Whole groups up to `limit` rows, at least one, drawn at random but the same for the same
    seed; in the order they came.
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
