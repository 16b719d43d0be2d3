"""AI2D: questions about school-book diagrams, 3,088 in the test split, with the letters drawn over the labels (masked)."""

from g2rpo.benchmark.multiple_choice import MultipleChoice


class AI2D(MultipleChoice):
    """The answer is a letter in the TSV and a 0-based number, as text, on the Hub."""

    name = "ai2d"
    task = "chart"
    parts = ("category",)
