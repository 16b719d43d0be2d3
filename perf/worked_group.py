"""Compute one group of eight by hand, beside G2RPO and GRPO; writes its tables and its figure.

    python perf/worked_group.py

The tables of docs/explanations/g2rpo.md are between two marks. The steps are computed here from
ranks and quantiles of the normal distribution alone; `tests/test_worked_group.py` compares them
with the estimator that training uses.
"""

from pathlib import Path
from statistics import NormalDist

import matplotlib.pyplot as plt
import torch
from figures import figure
from matplotlib.axes import Axes
from worked_page import table, with_tables

from g2rpo.algorithm.advantage.g2rpo import G2RPO
from g2rpo.algorithm.advantage.grpo import GRPO

PAGE = Path(__file__).parents[1] / "docs" / "explanations" / "g2rpo.md"
FIGURE = PAGE.with_name("worked_group.svg")
GROUP = (1.5, 1.5, 1.0, 0.6, 0.6, 0.5, 0.1, 0.0)
"""Total rewards of eight completions of one prompt."""
OTHER = (1.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)
"""A second group of the same task: one completion is right."""
ERROR = 10.0
"""What an error of the reward adds to the first completion, for the last table."""


def places(values: tuple[float, ...]) -> list[list[int]]:
    """Return the places of each value in ascending order, counted from 1; equal values share."""
    order = sorted(values)
    return [[n for n, other in enumerate(order, start=1) if other == value] for value in values]


def quantiles(values: tuple[float, ...]) -> list[float]:
    """Return the mean normal quantile of each value's places: Phi^-1((place - 1/2) / n)."""
    normal, n = NormalDist(), len(values)
    return [
        sum(normal.inv_cdf((place - 0.5) / n) for place in own) / len(own) for own in places(values)
    ]


def rounded(values: list[float]) -> tuple[float, ...]:
    """Return values without the noise of floats, so that equal ones are equal."""
    return tuple(round(value, 9) for value in values)


def advantages(estimator: G2RPO | GRPO, *groups: tuple[float, ...]) -> list[float]:
    """Return what an estimator gives to all completions of the groups, which are of one task."""
    rewards = torch.tensor([reward for group in groups for reward in group])
    labels = [number for number, group in enumerate(groups) for _ in group]
    found = estimator(rewards, torch.tensor(labels), torch.zeros(len(labels), dtype=torch.long))
    return found.tolist()


def tables() -> list[str]:
    """Return the tables of the page."""
    first, second = quantiles(GROUP), quantiles(OTHER)
    both = quantiles(rounded([*first, *second]))
    grpo = advantages(GRPO(), GROUP)
    steps = table(
        ("completion", "reward", "places", "step 1: quantile", "step 2: advantage", "GRPO"),
        [
            (
                str(n + 1),
                f"{GROUP[n]:g}",
                ", ".join(map(str, places(GROUP)[n])),
                f"{first[n]:+.3f}",
                f"{both[n]:+.3f}",
                f"{grpo[n]:+.3f}",
            )
            for n in range(len(GROUP))
        ],
    )
    beside = table(
        ("second group", "reward", "step 1: quantile", "step 2: advantage", "GRPO"),
        [
            (name, f"{OTHER[n]:g}", f"{second[n]:+.3f}", f"{both[8 + n]:+.3f}", f"{other:+.3f}")
            for name, n, other in (
                ("the right one", 0, advantages(GRPO(), OTHER)[0]),
                ("each of the others", 1, advantages(GRPO(), OTHER)[1]),
            )
        ],
    )
    wrong = (GROUP[0] + ERROR, *GROUP[1:])
    error = table(
        ("completion", "reward", "G2RPO, step 1", "GRPO"),
        [
            (str(n + 1), f"{wrong[n]:g}", f"{quantiles(wrong)[n]:+.3f}", f"{given:+.3f}")
            for n, given in enumerate(advantages(GRPO(), wrong))
        ],
    )
    return [steps, beside, error]


def page() -> str:
    """Return the page with current tables, each behind its mark."""
    return with_tables(PAGE, "worked_group.py", tables())


def drawn(axes: Axes) -> None:
    """Draw advantage over reward, for the group and for the group with an error."""
    wrong = (GROUP[0] + ERROR, *GROUP[1:])
    labels = [f"{reward:g}" for reward in GROUP]
    for name, color, marker, given in (
        ("G2RPO", "#0072b2", "o", quantiles(GROUP)),
        ("G2RPO, first reward + 10", "#0072b2", "^", quantiles(wrong)),
        ("GRPO", "#d55e00", "o", advantages(GRPO(), GROUP)),
        ("GRPO, first reward + 10", "#d55e00", "^", advantages(GRPO(), wrong)),
    ):
        line = "-" if marker == "o" else ":"
        axes.plot(range(8), given, color=color, marker=marker, linestyle=line, label=name)
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    axes.set_xticks(range(8), labels)
    axes.set_xlabel("reward of the completion")
    axes.set_ylabel("advantage")
    axes.legend(frameon=False, fontsize=8)


def main() -> None:
    """Write the tables and the figure; print the tables."""
    PAGE.write_text(page())
    FIGURE.write_text(figure([drawn], size=(7.2, 3.6)), encoding="utf-8")
    plt.close("all")
    print("\n\n".join(tables()))


if __name__ == "__main__":
    main()
