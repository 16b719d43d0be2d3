"""MMMU (validation): 900 college questions of 30 subjects, 847 with options and 53 open."""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import choices_of, images_of, list_of, needed, row_of, text_of
from g2rpo.benchmark.demo import letter_of, options_at, question_alone
from g2rpo.benchmark.multiple_choice import (
    UNREAD,
    ask_options,
    gold_letter,
    judge_option,
    options_of,
)
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.amounts import stated_amount
from g2rpo.scoring.extract import clean
from g2rpo.scoring.mmmu import official_option, open_candidates, open_match
from g2rpo.scoring.open_answer import same_answer
from g2rpo.scoring.quantity import exact_number
from g2rpo.scoring.statement import answer_tail

IMAGES = tuple(f"image_{number}" for number in range(1, 8))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class MMMU(BenchmarkBase):
    """Options by letter; open questions depend on the protocol.

    `paper` turns an open question into one with two options the model never saw, as VLMEvalKit
    does.
    The other protocols read open answers.
    """

    name = "mmmu"
    task = "general_vqa"
    protocols = ("paper", "official", "robust")
    parts = ("split", "category", "l2_category")
    published = Published(
        row=1,
        title="MMMU (val)",
        base=60.2,
        onethinker=70.6,
        grpo=69.7,
        gdpo=69.8,
        openvlthinker_v2=71.6,
    )
    demo_task = "general_vqa"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read options from a list as text or from columns A to I; an open question has none.

        The answer of an open question may be a list of alternatives.
        """
        row = row_of(self.name, record, "hint", "split", "category")
        row["images"] = row["images"] or [
            image for column in IMAGES for image in images_of(record, column)
        ]
        row["choices"] = choices_of(record)
        answer = needed(self.name, record, "answer")
        if row["choices"]:
            row["answer"] = gold_letter(self.name, row["id"], answer, row["choices"])
        else:
            golds = list_of(answer)
            row["answer"] = text_of(answer) if golds is None else [text_of(gold) for gold in golds]
        row["question_type"] = "multiple-choice" if row["choices"] else "open"
        subject = text_of(record.get("l2-category")) or _subject(row["id"])
        return row | ({"l2_category": subject} if subject else {})

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the answer type; open questions have a different one."""
        return "open ended" if _is_open(row) else "multiple choice"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return VLMEvalKit's prompt, or under `official` MMMU's own."""
        options = {} if _is_open(row) else options_of(row)
        if protocol != "official":
            return (
                ask_options(row["question"], options, hint=row.get("hint"))
                if options
                else f"Question: {row['question']}\n"
            )
        if not options:
            return f"{row['question']}\n\nAnswer the question using a single word or phrase."
        listed = "\n".join(f"({letter}) {text}" for letter, text in options.items())
        return (
            f"{row['question']}\n\n{listed}\n\nAnswer with the option's letter from the given"
            " choices directly."
        )

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score options by letter, and open answers by `protocol`."""
        self.check_protocol(protocol)
        if protocol == "paper":
            gold, options = (
                _hidden_options(row["answer"])
                if _is_open(row)
                else (row["answer"], options_of(row))
            )
            return judge_option(completion, row, options, gold, robust=False, judge=judge)
        if _is_open(row):
            return (
                _official_open(completion, row)
                if protocol == "official"
                else _robust_open(clean(completion), row)
            )
        if protocol == "robust":
            return judge_option(
                completion, row, options_of(row), row["answer"], robust=True, judge=judge
            )
        letter = official_option(completion, options_of(row))
        return (
            UNREAD
            if letter is None
            else Judgment(score=float(letter == row["answer"]), parsed=True, answer=letter)
        )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns; every sixth question is open."""
        options = options_at(prompt, wrong, number)
        is_open = number % 6 == 5
        return [
            {
                "id": f"validation_Demo_{number + 1}",
                "question": f"<image 1> {question_alone(prompt)}",
                "options": "[]" if is_open else repr(options),
                "explanation": "",
                "image_1": prompt.images[0],
                "answer": prompt.answer if is_open else letter_of(prompt, options),
                "question_type": "open" if is_open else "multiple-choice",
                "subfield": "Shapes",
            }
        ]


def _is_open(row: Mapping[str, Any]) -> bool:
    kind = row.get("question_type")
    return kind in ("open", "short-answer") if kind else not row.get("choices")


def _golds(row: Mapping[str, Any]) -> list[str]:
    golds = list_of(row["answer"])
    return [row["answer"]] if golds is None else [str(gold) for gold in golds]


def _hidden_options(answer: Any) -> tuple[str, dict[str, str]]:
    """Return the gold letter and the options that VLMEvalKit gives an open question.

    A list of answers is taken as its text.
    """
    text = str(answer)
    return (text if len(text) == 1 and text in _LETTERS else "A"), {"A": text, "B": "Other Answers"}


def _official_open(completion: str, row: Mapping[str, Any]) -> Judgment:
    match = open_match(sorted(open_candidates(completion), key=str), _golds(row))
    answer = "" if match is None else str(match)
    return Judgment(score=float(match is not None), parsed=bool(completion.strip()), answer=answer)


def _robust_open(text: str, row: Mapping[str, Any]) -> Judgment:
    """Compare what the answer states with every gold answer; numbers to two decimals."""
    if not text:
        return UNREAD
    right = any(_same(text, gold) for gold in _golds(row))
    return Judgment(score=float(right), parsed=True, answer=(answer_tail(text) or text)[:200])


def _same(answer: str, gold: str) -> bool:
    wanted = exact_number(gold)
    if wanted is None:
        return same_answer(answer, gold)
    exact, amount = exact_number(answer), stated_amount(answer)
    values = ((exact,) if exact is not None else ()) + (amount.values() if amount else ())
    return any(round(value, 2) == round(wanted, 2) for value in values)


def _subject(identity: str) -> str:
    """Return the subject in an id: `Art Theory` for `validation_Art_Theory_10`."""
    words = identity.split("_")
    return " ".join(words[1:-1]) if words[0] in ("dev", "validation", "test") else ""
