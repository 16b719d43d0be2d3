"""What the model is told beside the question: how to think and answer, and in which form an answer
of its type is wanted.
"""

import re
from collections.abc import Mapping, Sequence

from g2rpo.prompt import answer_kind


class PromptTemplate:
    """Question, options, instruction and the hint of the answer type, one below the other.

    Args:
        instruction: Said of every question.
        think_tag: Name of the tags around the thinking that the instruction asks for.
        hints: By answer type, as data sets write it (`multiple choice`, `OCR`, ...); a type without
            a hint gets none.
    """

    def __init__(
        self, *, instruction: str, hints: Mapping[str, str], think_tag: str = "thinking"
    ) -> None:
        if instruction and f"<{think_tag}>" not in instruction and "<think" in instruction:
            raise ValueError(
                "template.think_tag: expected the tag that template.instruction asks for, got"
                f" {think_tag!r}"
            )
        self.think_tag = think_tag
        self.instruction = instruction.strip()
        self.hints = {answer_kind(name): hint.strip() for name, hint in hints.items()}

    @property
    def speaks_of_image(self) -> bool:
        """Whether the instruction tells the model to look at an image."""
        return re.search(r"(?i)\b(?:image|picture|photo|figure)s?\b", self.instruction) is not None

    def text(self, question: str, options: Sequence[str], answer_type: str) -> str:
        """The user's turn."""
        listed = "Options:\n" + "\n".join(options) if options else ""
        parts = (
            question.strip(),
            listed,
            self.instruction,
            self.hints.get(answer_kind(answer_type), ""),
        )
        return "\n".join(part for part in parts if part)
