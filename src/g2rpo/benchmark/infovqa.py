"""InfographicVQA (validation): 2,801 questions about infographics, scored by ANLS."""

from collections.abc import Sequence
from typing import Any

from g2rpo.benchmark.docvqa import DocVQA
from g2rpo.benchmark.published import Published
from g2rpo.records import Prompt


class InfoVQA(DocVQA):
    """Scored like DocVQA; an answer that lists several things must list them in the gold order."""

    name = "infovqa"
    parts = ("answer_type", "operation/reasoning")
    published = Published(
        row=12,
        title="InfoVQA",
        base=83.1,
        onethinker=84.8,
        grpo=84.9,
        gdpo=83.5,
        openvlthinker_v2=86.4,
    )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns."""
        return [
            {
                "questionId": str(number),
                "question": prompt.text,
                "answers": [prompt.answer],
                "answer_type": ["single span"],
                "image": prompt.images[0],
                "operation/reasoning": None,
                "ocr": "",
                "data_split": "val",
            }
        ]
