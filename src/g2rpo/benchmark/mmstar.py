"""MMStar: 1,500 questions that need the image to answer, 250 in each of six categories."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.benchmark.columns import choices_of, needed, text_of
from g2rpo.benchmark.demo import LETTERS, letter_of, options_at, question_alone
from g2rpo.benchmark.multiple_choice import MultipleChoice
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt

_OPENINGS = ("", "(", "option ", "the answer is ")
_EMBEDDED = re.compile(r"\n\s*Options:\s*(A:.*)$", re.DOTALL)
_LABEL = re.compile(r"(?:^|,\s*|\n)([A-H]):\s*")


class MMStar(MultipleChoice):
    """Multiple choice; on the Hub the options are part of the question and are split off."""

    name = "mmstar"
    protocols = ("paper", "official", "robust")
    parts = ("category", "l2_category")
    published = Published(
        row=3,
        title="MMStar",
        base=68.5,
        onethinker=70.6,
        grpo=71.7,
        gdpo=71.5,
        openvlthinker_v2=73.8,
    )
    demo_task = "general_vqa"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a TSV row with columns A to D, or a Hub row with options in the question."""
        if choices_of(record):
            return super().row(record)
        question, choices = split_question(text_of(needed(self.name, record, "question")))
        return super().row({**record, "question": question, "choices": choices})

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score a completion; `official` reads only its beginning.

        It takes the first letter in either case, even of a word (`Both` is B).
        """
        if protocol != "official":
            return super().judgment(completion, row, protocol=protocol, judge=judge)
        text, gold = (
            part.lower().strip().replace("\n", " ") for part in (completion[:1000], row["answer"])
        )
        right = bool(gold) and any(text.startswith(opening + gold) for opening in _OPENINGS)
        return Judgment(score=float(right), parsed=bool(text), answer=text[:1].upper())

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the TSV's columns."""
        options = options_at(prompt, wrong, number)
        return [
            {
                "index": number,
                "question": question_alone(prompt),
                **dict(zip(LETTERS, options, strict=False)),
                "answer": letter_of(prompt, options),
                "category": "fine-grained perception",
                "l2_category": "attribute & celebrity recognition",
                "image": prompt.images[0],
            }
        ]


def split_question(text: str) -> tuple[str, dict[str, str]]:
    r"""Split `What?` + newline + `Options: A: .., B: .., C: .., D: ..` into question and options.

    Commas inside an option are kept.

    >>> split_question("What?\nOptions: A: red, green, B: blue")
    ('What?', {'A': 'red, green', 'B': 'blue'})
    """
    match = _EMBEDDED.search(text)
    if match is None:
        return text, {}
    labels: list[re.Match[str]] = []
    for label in _LABEL.finditer(match[1]):
        if label[1] == chr(ord("A") + len(labels)):
            labels.append(label)
    ends = [label.start() for label in labels[1:]] + [len(match[1])]
    options = {
        label[1]: match[1][label.end() : end].strip()
        for label, end in zip(labels, ends, strict=True)
    }
    return text[: match.start()].strip(), options
