"""AI2D: questions about school-book diagrams, 3,088 in the test split, with the letters drawn over
the labels (masked).
"""

from collections.abc import Sequence
from typing import Any

from g2rpo.benchmark.demo import question_alone, shuffled_options
from g2rpo.benchmark.multiple_choice import MultipleChoice
from g2rpo.benchmark.published import Published
from g2rpo.records import Prompt


class AI2D(MultipleChoice):
    """The answer is a letter in the TSV and a 0-based number, as text, on the Hub."""

    name = "ai2d"
    task = "chart"
    parts = ("category",)
    published = Published(
        row=7,
        title="AI2D",
        base=82.3,
        onethinker=85.2,
        grpo=85.1,
        gdpo=85.1,
        openvlthinker_v2=87.5,
    )
    demo_task = "chart"

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """The Hub's columns: the answer is the number of an option, from 0, as text."""
        options = shuffled_options(prompt, wrong)
        return [
            {
                "index": number,
                "question": question_alone(prompt),
                "options": options,
                "answer": str(options.index(prompt.answer)),
                "image": prompt.images[0],
            }
        ]
