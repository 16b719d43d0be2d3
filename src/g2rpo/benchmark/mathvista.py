"""MathVista (testmini): 1,000 questions, 540 with options, 458 with a number, 2 with a list."""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import choices_of, first, list_of, needed, row_of, text_of
from g2rpo.benchmark.grading import ask
from g2rpo.benchmark.mathvista_rules import extraction_request, gold_letter, official, paper, robust
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean
from g2rpo.scoring.option import lettered

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
            try:
                row["precision"] = int(precision)
            except (TypeError, ValueError, OverflowError):
                raise ValueError(
                    f"mathvista, record {row['id']!r}: column precision: expected a whole number,"
                    f" got {str(precision)[:100]!r}"
                ) from None
        answer = needed(self.name, record, "answer")
        row["answer"] = (
            answer
            if isinstance(answer, str)
            else text_of(answer)
            if row["answer_type"] != "float"
            else str(answer)
        )
        if row["question_type"] == "multi_choice":
            row["answer_option"] = text_of(record.get("answer_option")) or gold_letter(row)
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
            return official(completion, row, judge)
        text = clean(completion) if protocol == "robust" else completion
        verdict = robust(completion, row) if protocol == "robust" else paper(completion, row)
        if (
            (verdict.parsed and protocol == "robust")
            or verdict.score
            or verdict.answer
            or judge is None
        ):
            return verdict
        reply = ask(judge, extraction_request(text, row))
        if reply is None:
            return verdict
        again = robust(reply, row) if protocol == "robust" else paper(reply, row, final=True)
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
            # Without a judge, `paper` scores a right 0 as wrong, which would look like a defect.
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
