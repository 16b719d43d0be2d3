r"""MathVision (test): 3,040 competition problems, 1,532 with five options and 1,508 open.

Both original evaluations pass model output to Python's `eval`. Here `g2rpo.scoring.arithmetic`
computes the values safely.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import choices_of, first, needed, row_of, text_of
from g2rpo.benchmark.grading import ask, extraction_prompt
from g2rpo.benchmark.multiple_choice import UNREAD, options_of, stated_option
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.arithmetic import python_value
from g2rpo.scoring.extract import clean
from g2rpo.scoring.latex_number import printed_value
from g2rpo.scoring.mathvision import official_answer, official_equal
from g2rpo.scoring.open_answer import same_answer
from g2rpo.scoring.option import REFUSAL, infer_option

TOLERANCE = 1e-6
_LETTERS = "ABCDE"


class MathVision(BenchmarkBase):
    """Options are compared by letter, open answers by equal text or equal value."""

    name = "mathvision"
    task = "math"
    protocols = ("paper", "official", "robust")
    parts = ("category", "level")
    published = Published(
        row=6,
        title="MathVision",
        base=45.4,
        onethinker=48.3,
        grpo=52.6,
        gdpo=49.7,
        openvlthinker_v2=53.4,
    )
    demo_task = "math"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub or of the TSV."""
        row = row_of(self.name, record, "level")
        row["choices"] = list(choices_of(record).values())
        row["answer"] = text_of(needed(self.name, record, "answer"))
        if row["choices"] and (
            len(row["answer"]) != 1 or row["answer"] not in _LETTERS[: len(row["choices"])]
        ):
            raise ValueError(
                f"mathvision, record {row['id']!r}: column answer: expected the letter of one of"
                f" {row['choices']}, got {row['answer']!r}"
            )
        subject = text_of(first(record, "subject", "category"))
        return row | ({"category": subject} if subject else {})

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return `multiple choice` if the row has options, else `math`."""
        return "multiple choice" if row.get("choices") else "math"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the question with options, and MathVision's instruction if `official`."""
        options = options_of(row) if row.get("choices") else {}
        named = (
            ""
            if list(options.values()) == list(options)
            else "\n".join(f"({letter}) {text}" for letter, text in options.items())
        )
        text = row["question"] + (f"\n{named}" if named and "(A)" not in row["question"] else "")
        if protocol != "official":
            return str(text)
        return (
            'Please solve the problem step by step and put your answer in one "\\boxed{}". If it'
            " is a multiple choice question, only one letter is allowed in the"
            f' "\\boxed{{}}".\n{text}'
        )

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score a completion by rules.

        If the rules find no answer, a judge extracts one; under `official` no judge is used.
        """
        self.check_protocol(protocol)
        if not completion.strip() and (judge is None or protocol != "paper"):
            return UNREAD
        if protocol == "official":
            answer = official_answer(completion)
            values = [
                row["answer"],
                *([options_of(row)[row["answer"]]] if row.get("choices") else []),
            ]
            return Judgment(
                score=float(any(official_equal(gold, answer) for gold in values)),
                parsed=bool(answer),
                answer=answer[:200],
            )
        read = _robust if protocol == "robust" else _paper
        verdict = read(completion, row)
        settled = (
            verdict.score
            or (verdict.parsed and (row.get("choices") or protocol == "robust"))
            or verdict.answer == REFUSAL
        )
        reply = (
            None
            if settled or judge is None
            else ask(
                judge,
                extraction_prompt(
                    text_of(row.get("question")),
                    clean(completion) if protocol == "robust" else completion,
                    "the letter or the value",
                ),
            )
        )
        if reply is None:
            return verdict
        again = read(reply, row)
        return Judgment(score=again.score, parsed=again.parsed, answer=again.answer, by="judge")

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns."""
        return [
            {
                "id": str(number + 1),
                "question": f"{prompt.text}\n<image1>",
                "options": [],
                "image": f"images/{number + 1}.jpg",
                "decoded_image": prompt.images[0],
                "answer": prompt.answer,
                "solution": None,
                "level": 1,
                "subject": "counting",
            }
        ]


def _paper(text: str, row: Mapping[str, Any]) -> Judgment:
    """Score like VLMEvalKit on the raw text."""
    if row.get("choices"):
        letter = infer_option(text, options_of(row))
        if letter is None:
            return UNREAD
        return Judgment(
            score=float(letter == row["answer"].strip()), parsed=letter != REFUSAL, answer=letter
        )
    return Judgment(
        score=float(_equal(text, row["answer"])),
        parsed=bool(text.strip()),
        answer=text.strip()[:200],
    )


def _equal(answer: str, gold: str) -> bool:
    """Return whether two answers are the same text, or have values closer than 1e-6.

    Values are those of Python arithmetic, else those that latex2sympy prints.
    """
    answer, gold = answer.lower().strip(), gold.lower().strip()
    if answer == gold:
        return True
    for value in (python_value, printed_value):
        wanted = value(gold)
        got = None if wanted is None else value(answer)
        if got is not None and wanted is not None and abs(got - wanted) < TOLERANCE:
            return True
    return False


def _robust(completion: str, row: Mapping[str, Any]) -> Judgment:
    text = clean(completion)
    if not text:
        return UNREAD
    if row.get("choices"):
        letter = stated_option(completion, options_of(row))
        return (
            UNREAD
            if letter is None
            else Judgment(score=float(letter == row["answer"].strip()), parsed=True, answer=letter)
        )
    gold = clean(row["answer"].replace("\x0crac", "\\frac"))
    return Judgment(
        score=float(text == row["answer"].strip() or same_answer(text, gold)),
        parsed=True,
        answer=text[:200],
    )
