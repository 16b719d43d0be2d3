"""Lay out two small groups in one packed row; writes tables and figure of the shared prefix.

    python perf/worked_prefix.py

The tables of docs/explanations/shared_prefix.md are between marks. What a token sees is computed
here from a list of tokens alone; `tests/test_worked_prefix.py` compares it with the attention that
training uses.
"""

import math
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
from figures import figure
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from worked_page import table, with_tables

PAGE = Path(__file__).parents[1] / "docs" / "explanations" / "shared_prefix.md"
FIGURE = PAGE.with_name("packed_row.svg")
PROMPTS = ("ABC", "DE")
"""Tokens of two prompts, a letter each."""
COMPLETIONS = (("pq", "rs"), ("t", "uv"))
"""Tokens of the two completions of each prompt, without the last one, which predicts nothing."""
SCORES = {"A": 1.0, "B": 0.0, "C": -1.0, "p": 0.5, "q": 2.0}
"""Scores (query times key) of token q with each token that it sees."""
VALUES = {"A": 1.0, "B": 2.0, "C": 3.0, "p": 4.0, "q": 5.0}
"""Values of these tokens, one number each."""
SIZES = ((512, 8, 32), (1024, 8, 128), (1500, 8, 800), (1500, 16, 800))
"""Tokens of a prompt, completions of a group, tokens of a completion."""
PARTS = ("not seen", "prompts", "far", "near")
COLORS = ("#ffffff", "#7a8794", "#0072b2", "#d55e00")


class Token(NamedTuple):
    """A token of the packed row; `completion` is None for tokens of a prompt."""

    letter: str
    prompt: int
    completion: int | None
    position: int


def packed_row() -> list[Token]:
    """Return the tokens of all prompts, then those of all completions."""
    row = [Token(x, n, None, i) for n, text in enumerate(PROMPTS) for i, x in enumerate(text)]
    for n, group in enumerate(COMPLETIONS):
        for k, text in enumerate(group):
            start = len(PROMPTS[n])
            row += [Token(x, n, k, i) for i, x in enumerate(text, start)]
    return row


def part(token: Token, other: Token) -> int:
    """Return in which part of the attention a token sees another: an index of `PARTS`."""
    if token.prompt != other.prompt:
        return 0
    if other.completion is None and token.completion is not None:
        return 2
    own = token.completion == other.completion and other.position <= token.position
    return (1 if token.completion is None else 3) if own else 0


def softmax(letters: str) -> tuple[float, float]:
    """Return the attention output over some tokens, and their log-sum-exp."""
    total = sum(math.exp(SCORES[x]) for x in letters)
    return sum(math.exp(SCORES[x]) * VALUES[x] for x in letters) / total, math.log(total)


def tables() -> list[str]:
    """Return the tables of the page."""
    row = packed_row()
    seen = table(
        ("token", "place in the row", "position", "sees"),
        [
            (
                token.letter,
                str(place),
                str(token.position),
                " ".join(other.letter for other in row if part(token, other)),
            )
            for place, token in enumerate(row)
        ],
    )
    (far, far_lse), (near, near_lse), (whole, lse) = map(softmax, ("ABC", "pq", "ABCpq"))
    share = 1 / (1 + math.exp(near_lse - far_lse))
    merged = table(
        ("over", "output", "log-sum-exp", "share"),
        [
            ("the prompt, A B C", f"{far:.4f}", f"{far_lse:.4f}", f"{share:.4f}"),
            ("itself, p q", f"{near:.4f}", f"{near_lse:.4f}", f"{1 - share:.4f}"),
            ("merged", f"{share * far + (1 - share) * near:.4f}", "", ""),
            ("one softmax over A B C p q", f"{whole:.4f}", f"{lse:.4f}", "1"),
        ],
    )
    counted = table(
        ("prompt P", "group G", "completion C", "shared: P + G C", "apart: G (P + C)", "ratio"),
        [
            (f"{p}", f"{g}", f"{c}", f"{p + g * c:,}", f"{g * (p + c):,}", f"{ratio(p, g, c):.1f}")
            for p, g, c in SIZES
        ],
    )
    return [seen, merged, counted]


def ratio(prompt: int, group: int, completion: int) -> float:
    """Return tokens through the layers with a prompt per completion, over those with one."""
    return group * (prompt + completion) / (prompt + group * completion)


def drawn(axes: Axes) -> None:
    """Draw which token sees which, colored by the part of the attention."""
    row = packed_row()
    seen = [[part(token, other) for other in row] for token in row]
    axes.imshow(seen, cmap=ListedColormap(COLORS), vmin=0, vmax=len(COLORS) - 1)
    letters = [token.letter for token in row]
    axes.set_xticks(range(len(row)), letters)
    axes.set_yticks(range(len(row)), letters)
    axes.set_xticks([place - 0.5 for place in range(1, len(row))], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, len(row))], minor=True)
    axes.grid(which="minor", color="#d0d5da", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("is seen")
    axes.set_ylabel("sees")
    handles = [Patch(color=color, label=name) for name, color in zip(PARTS, COLORS, strict=True)]
    axes.legend(handles=handles[1:], frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))


def page() -> str:
    """Return the page with current tables."""
    return with_tables(PAGE, "worked_prefix.py", tables())


def main() -> None:
    """Write the tables and the figure; print the tables."""
    PAGE.write_text(page())
    FIGURE.write_text(figure([drawn], size=(5.4, 3.8)), encoding="utf-8")
    plt.close("all")
    print("\n\n".join(tables()))


if __name__ == "__main__":
    main()
