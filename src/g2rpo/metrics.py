"""The entry of a logged column in the tables of metrics.

The tables are `g2rpo.metric_table` and `g2rpo.time_metric_table`.

Undeclared metrics are logged with a warning. Nothing here needs torch, because reports read it.
"""

import logging
from collections.abc import Mapping

from g2rpo.metric_table import METRICS as OTHER_METRICS
from g2rpo.metric_table import Metric
from g2rpo.time_metric_table import TIME_METRICS

__all__ = [
    "BY_NAME",
    "METRICS",
    "Metric",
    "checked",
    "metric_of",
    "task_of",
]

log = logging.getLogger("g2rpo")
_undeclared: set[str] = set()
"""Columns for which a warning was logged."""
METRICS = (*OTHER_METRICS, *TIME_METRICS)
BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(column: str) -> Metric:
    """Return the metric of a logged column; raises `KeyError` for an undeclared column."""
    name, rest = _divided(column)
    metric = BY_NAME.get(name)
    if metric is not None:
        parts = rest.count("/") + bool(rest)
        fewest = 2 if metric.per_pair else 1 if metric.per_task or metric.per_benchmark else 0
        if parts == fewest or (parts > fewest and (metric.per_task or metric.per_pair)):
            return metric  # the name of a task may hold a slash
    raise KeyError(f"{column!r} is not declared in g2rpo/metric_table.py")


def task_of(column: str) -> str | None:
    """Return the task of a logged column; None for a column that does not belong to one task.

    >>> task_of("reward/accuracy/gui"), task_of("reward/total")
    ('gui', None)
    """
    name, rest = _divided(column)
    return rest if rest and name in BY_NAME and BY_NAME[name].per_task else None


def _divided(column: str) -> tuple[str, str]:
    """Return the longest declared name that a column begins with, and the rest."""
    name, rest = column, ""
    while name and name not in BY_NAME:
        name, _, last = name.rpartition("/")
        rest = f"{last}/{rest}" if rest else last
    noun, _, named = rest.partition("/")
    if not name and noun == "reward" and "/" in named:  # a part of a reward of the user
        return "reward/part", named.partition("/")[2]
    return name, rest


def checked(row: Mapping[str, float]) -> dict[str, float]:
    """Return a copy of the row; logs one warning for each undeclared column."""
    for column in row:
        if column in _undeclared or column in ("epoch", "step"):
            continue
        try:
            metric_of(column)
        except KeyError as error:
            _undeclared.add(column)
            log.warning("%s; it is logged without unit and meaning", error.args[0])
    return dict(row)
