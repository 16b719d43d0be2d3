"""AI2D (test): 3,088 questions about school-book diagrams, with letters drawn over the labels."""

from collections.abc import Sequence
from typing import Any

from g2rpo.benchmark.demo import options_at, question_alone
from g2rpo.benchmark.multiple_choice import MultipleChoice
from g2rpo.benchmark.published import Published
from g2rpo.records import Prompt


class AI2D(MultipleChoice):
    """Multiple choice; the answer is a letter in the TSV, a 0-based number on the Hub."""

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
        """Return the prompt as a record in the Hub's columns."""
        options = options_at(prompt, wrong, number)
        return [
            {
                "index": number,
                "question": question_alone(prompt),
                "options": options,
                "answer": str(options.index(prompt.answer)),
                "image": prompt.images[0],
            }
        ]
