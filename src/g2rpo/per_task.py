"""Means and sums per task, over the whole rollout batch and never as means of means."""

from collections.abc import Sequence

from jaxtyping import Float, Int, Shaped
from torch import Tensor


def task_means(
    name: str, values: Float[Tensor, " n"], tasks: Int[Tensor, " n"], names: Sequence[str]
) -> dict[str, float]:
    """Return `{name/task: mean}` for every task that occurs.

    Args:
        name: Name of the metric.
        values: One entry per row.
        tasks: Position of each row's task in `names`.
        names: The tasks of the run.
    """
    return {
        f"{name}/{names[i]}": values[tasks == i].double().mean().item()
        for i in tasks.unique().tolist()
    }


def task_sums(
    entropy: Float[Tensor, "b t"],
    mask: Shaped[Tensor, "b t"],
    tasks: Int[Tensor, " b"],
    num_tasks: int,
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Return the sum of entropies and the number of tokens per task, in the order of the run."""
    inside = mask.bool()
    rows = entropy.where(inside, 0.0).sum(1)
    counts = inside.sum(1).to(rows.dtype)
    start = rows.new_zeros(num_tasks)
    return start.index_add(0, tasks, rows), start.index_add(0, tasks, counts)
