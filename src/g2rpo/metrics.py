"""The entry of a logged column in the table of metrics, and means and sums per task.

Undeclared metrics are logged with a warning. Metrics are reduced over the whole rollout batch as
sums and counts, never as means of means. The table itself is `g2rpo.metric_table`.
"""

import logging
from collections.abc import Mapping

from jaxtyping import Float, Int, Shaped
from torch import Tensor

from g2rpo.metric_table import METRICS, Metric
from g2rpo.records import TASKS

__all__ = ["BY_NAME", "METRICS", "Metric", "checked", "metric_of", "task_means", "task_sums"]

log = logging.getLogger("g2rpo")
_undeclared: set[str] = set()
"""Columns for which a warning was logged."""
BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(column: str) -> Metric:
    """Return the metric of a logged column; raises `KeyError` for an undeclared column."""
    owner, _, benchmark = column.rpartition("/")
    if owner in BY_NAME and BY_NAME[owner].per_benchmark and benchmark:
        return BY_NAME[owner]
    name, tasks = column, 0
    while name.rpartition("/")[2] in TASKS:
        name, tasks = name.rpartition("/")[0], tasks + 1
    metric = BY_NAME.get(name)
    if (
        metric is None
        or metric.per_benchmark
        or tasks != (2 if metric.per_pair else int(metric.per_task))
    ):
        raise KeyError(f"{column!r} is not declared in g2rpo/metric_table.py")
    return metric


def task_means(
    name: str, values: Float[Tensor, " n"], tasks: Int[Tensor, " n"]
) -> dict[str, float]:
    """Return `{name/task: mean}` for every task that occurs, from one entry per row."""
    return {
        f"{name}/{TASKS[i]}": values[tasks == i].double().mean().item()
        for i in tasks.unique().tolist()
    }


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


def task_sums(
    entropy: Float[Tensor, "b t"], mask: Shaped[Tensor, "b t"], tasks: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return the sum of entropies and the number of tokens per task, in the order of `TASKS`."""
    inside = mask.bool()
    rows = entropy.where(inside, 0.0).sum(1)
    counts = inside.sum(1).to(rows.dtype)
    start = rows.new_zeros(len(TASKS))
    return start.index_add(0, tasks, rows), start.index_add(0, tasks, counts)
