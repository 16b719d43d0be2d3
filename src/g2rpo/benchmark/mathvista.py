"""MathVista (testmini): 1,000 questions, 540 with options, 458 with a number, 2 with a list."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import choices_of, first, list_of, needed, row_of, text_of
from g2rpo.benchmark.grading import ask, extraction_prompt
from g2rpo.benchmark.multiple_choice import UNREAD
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.option import REFUSAL, infer_option, lettered, read_option
from g2rpo.scoring.prediction import clean
from g2rpo.scoring.quantity import exact_number, final_number, numbers, same_words
from g2rpo.scoring.text import edit_distance

HINTS = {
    "multi_choice": (
        "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the"
        " end."
    ),
    "integer": (
        "Please answer the question requiring an integer answer and provide the final value, e.g.,"
        " 1, 2, 3, at the end."
    ),
    "float 1": (
        "Please answer the question requiring a floating-point number with one decimal place and"
        " provide the final value, e.g., 1.2, 1.3, 1.4, at the end."
    ),
    "float 2": (
        "Please answer the question requiring a floating-point number with two decimal places and"
        " provide the final value, e.g., 1.23, 1.34, 1.45, at the end."
    ),
    "list": (
        "Please answer the question requiring a Python list as an answer and provide the final"
        " list, e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end."
    ),
}
FORMS = {
    "integer": "a whole number",
    "float": "a number",
    "list": "a Python list",
    "text": "a few words",
}
_QUOTED = re.compile(r'The answer is "(.*)"\.')
_BRACKETED_LETTER = re.compile(r"\(([a-zA-Z])\)")
_LIST = re.compile(r"\[[^\[\]]*\]")
_LONGEST = 2000
_META = ("task", "context", "category", "grade", "source")


class MathVista(BenchmarkBase):
    """Options are compared by letter, numbers by their type; a judge only extracts answers."""

    name = "mathvista"
    task = "math"
    protocols = ("paper", "official", "robust")
    parts = ("task", "skills", "question_type", "answer_type")
    published = Published(
        row=4,
        title="MathVista (testmini)",
        base=74.2,
        onethinker=77.6,
        grpo=78.1,
        gdpo=78,
        openvlthinker_v2=79.5,
    )
    demo_task = "math"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub or of the TSV.

        For a question with options, `answer` holds the gold option's text and `answer_option` its
        letter.
        """
        row = row_of(self.name, record, "unit")
        meta = record.get("metadata")
        described = {**meta, **record} if isinstance(meta, Mapping) else record
        row |= {
            column: text_of(cell)
            for column in _META
            if (cell := first(described, column)) is not None
        }
        row["skills"] = list_of(described.get("skills")) or []
        row["choices"] = list(choices_of(record).values())
        row["question_type"] = text_of(needed(self.name, record, "question_type"))
        row["answer_type"] = text_of(needed(self.name, record, "answer_type"))
        if (precision := first(record, "precision")) is not None:
            row["precision"] = int(precision)
        answer = needed(self.name, record, "answer")
        row["answer"] = (
            answer
            if isinstance(answer, str)
            else text_of(answer)
            if row["answer_type"] != "float"
            else str(answer)
        )
        if row["question_type"] == "multi_choice":
            row["answer_option"] = text_of(record.get("answer_option")) or _letter(row)
            if not row["answer_option"]:
                raise ValueError(
                    f"mathvista, record {row['id']!r}: column answer: expected one of"
                    f" {row['choices']}, got {row['answer']!r}"
                )
        query = text_of(record.get("query")) or (
            row["question"] if row["question"].startswith("Hint:") else ""
        )
        return row | ({"query": query} if query else {})

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the answer type by `question_type` and `answer_type`."""
        if row["question_type"] == "multi_choice":
            return "multiple choice"
        return "numerical" if row["answer_type"] in ("integer", "float") else "open ended"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the official query: hint, question with its unit, options."""
        if row.get("query"):
            return str(row["query"])
        kind = (
            row["question_type"] if row["question_type"] == "multi_choice" else row["answer_type"]
        )
        kind = f"float {min(row.get('precision') or 1, 2)}" if kind == "float" else kind
        hint = f"Hint: {HINTS[kind]}\n" if kind in HINTS else ""
        unit = f" (Unit: {row['unit']})" if row.get("unit") else ""
        listed = "".join(
            f"\n({letter}) {text}" for letter, text in lettered(row["choices"]).items()
        )
        return f"{hint}Question: {row['question']}{unit}" + (
            f"\nChoices:{listed}" if listed else ""
        )

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score by the rules of `protocol`; if they read nothing, score what the judge extracts."""
        self.check_protocol(protocol)
        if protocol == "official":
            return _official(completion, row, judge)
        text = clean(completion) if protocol == "robust" else completion
        read = _robust if protocol == "robust" else _paper
        verdict = read(text, row)
        if (
            (verdict.parsed and protocol == "robust")
            or verdict.score
            or verdict.answer
            or judge is None
        ):
            return verdict
        reply = ask(judge, _extraction(text, row))
        if reply is None:
            return verdict
        again = read(clean(reply), row) if protocol == "robust" else _paper(reply, row, final=True)
        return Judgment(score=again.score, parsed=again.parsed, answer=again.answer, by="judge")

    def subscores(self, row: Mapping[str, Any]) -> list[str]:
        """Return the sub-scores by task, question type and answer type, and one for each skill."""
        skills = [
            name
            for skill in row.get("skills", ())
            for name in super(MathVista, self).subscores({"skills": skill})
        ]
        return [
            *super().subscores({key: value for key, value in row.items() if key != "skills"}),
            *skills,
        ]

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a free-form record with an integer answer, in the Hub's columns."""
        if prompt.answer == "0":
            # without a judge, `paper` never pays a right 0, so a demo row with it would look like
            # an error
            return []
        return [
            {
                "pid": str(number + 1),
                "question": prompt.text,
                "image": f"images/{number + 1}.jpg",
                "decoded_image": prompt.images[0],
                "choices": None,
                "unit": None,
                "precision": None,
                "answer": prompt.answer,
                "question_type": "free_form",
                "answer_type": "integer",
                "metadata": {
                    "split": "testmini",
                    "category": "general-vqa",
                    "task": "figure question answering",
                    "skills": ["arithmetic"],
                },
                "query": f"Hint: {HINTS['integer']}\nQuestion: {prompt.text}",
            }
        ]


def _extraction(text: str, row: Mapping[str, Any]) -> str:
    form = (
        "an option letter"
        if row["question_type"] == "multi_choice"
        else FORMS.get(row["answer_type"], "a few words")
    )
    question = text_of(row.get("question"))
    if row.get("choices"):
        question += "".join(
            f"\n({letter}) {choice}"
            for letter, choice in lettered(list_of(row["choices"]) or []).items()
        )
    return extraction_prompt(question, text, form)


def _letter(row: Mapping[str, Any]) -> str:
    """Return the letter of the first option with the gold text; empty if there is none."""
    given = row.get("answer_option")
    return given or next(
        (
            letter
            for letter, text in lettered(list_of(row["choices"]) or []).items()
            if text == row["answer"]
        ),
        "",
    )


def _paper(text: str, row: Mapping[str, Any], *, final: bool = False) -> Judgment:
    """Score like VLMEvalKit.

    Before a judge has extracted (`final` is False), a right number 0 counts as nothing read. A list
    is
    never right.
    """
    if row["question_type"] == "multi_choice":
        letter = infer_option(text, lettered(list_of(row["choices"]) or []))
        if letter is None:
            return UNREAD
        return Judgment(
            score=float(letter == _letter(row)), parsed=letter != REFUSAL, answer=letter
        )
    read: type[int] | type[float] | None = {"integer": int, "float": float}.get(row["answer_type"])
    if read is None:
        return UNREAD
    try:
        value, gold = read(text), read(row["answer"])
    except (ValueError, OverflowError):
        return UNREAD
    right = value == gold and (final or bool(value))
    return Judgment(score=float(right), parsed=True, answer=str(value) if right else "")


def _official(completion: str, row: Mapping[str, Any], judge: Judge | None) -> Judgment:
    extraction, by = (
        (completion, "rule")
        if row.get("extraction_is_completion")
        else _official_extraction(completion, row, judge)
    )
    kind, value = row["answer_type"], extraction.strip()
    if row["question_type"] == "multi_choice":
        value = _official_choice(
            extraction, [str(choice) for choice in list_of(row["choices"]) or []]
        )
    elif kind in ("integer", "float"):
        try:
            value = (
                str(int(float(extraction)))
                if kind == "integer"
                else str(round(float(extraction), int(row.get("precision") or 0)))
            )
        except (ValueError, OverflowError):
            return UNREAD
    elif not extraction:
        return UNREAD
    return Judgment(
        score=float(value == row["answer"]), parsed=bool(extraction.strip()), answer=value, by=by
    )


def _official_extraction(
    completion: str, row: Mapping[str, Any], judge: Judge | None
) -> tuple[str, str]:
    if row["question_type"] == "multi_choice" and completion in (list_of(row["choices"]) or []):
        return completion, "rule"
    read: type[int] | type[float] | None = {"integer": int, "float": float}.get(row["answer_type"])
    if read is not None:
        try:
            return str(read(completion)), "rule"
        except (ValueError, OverflowError):
            pass  # a sentence, which the rules below read
    quoted = _QUOTED.search(completion)
    if quoted:
        return quoted[1], "rule"
    reply = None if judge is None else ask(judge, _extraction(completion, row))
    return ("", "rule") if reply is None else (reply, "judge")


def _official_choice(extraction: str, choices: list[str]) -> str:
    """Return the option a letter names, else the option with the smallest edit distance.

    An empty extraction becomes the shortest option.
    """
    extraction = extraction.strip()[:_LONGEST]
    bracketed = _BRACKETED_LETTER.search(extraction)
    extraction = bracketed[1].upper() if bracketed else extraction
    options = lettered(choices)
    if extraction in options:
        return options[extraction]
    return min(choices, key=lambda choice: edit_distance(choice, extraction), default="")


def _robust(text: str, row: Mapping[str, Any]) -> Judgment:
    """Compare options by letter or text, numbers after rounding, lists item by item."""
    if row["question_type"] == "multi_choice":
        letter = read_option(text, lettered(list_of(row["choices"]) or []))
        return (
            UNREAD
            if letter is None
            else Judgment(score=float(letter == _letter(row)), parsed=True, answer=letter)
        )
    kind = row["answer_type"]
    if kind == "list":
        return _robust_list(text, row)
    if kind not in ("integer", "float"):
        return (
            Judgment(score=float(same_words(text, row["answer"])), parsed=True, answer=text[:200])
            if text
            else UNREAD
        )
    gold, got = exact_number(row["answer"]), exact_number(text)
    got = final_number(text) if got is None else got
    if got is None or gold is None:
        return UNREAD
    decimals = row.get("precision")
    decimals = (
        0
        if kind == "integer"
        else len(row["answer"].partition(".")[2])
        if decimals is None
        else int(decimals)
    )
    right = (
        got == gold
        if kind == "integer"
        else abs(round(got, decimals) - round(gold, decimals)) < 10.0 ** -(decimals + 3)
    )
    return Judgment(score=float(right), parsed=True, answer=f"{got:g}")


def _robust_list(text: str, row: Mapping[str, Any]) -> Judgment:
    listed = _LIST.findall(text[-_LONGEST:])
    got, gold = numbers(listed[-1][1:-1] if listed else text), numbers(row["answer"][1:-1])
    return Judgment(score=float(got == gold), parsed=True, answer=str(got)) if got else UNREAD
