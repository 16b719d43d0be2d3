"""MathVerse (testmini): 788 geometry and function problems in five versions each.

From version to version more of the problem moves from the text into the image.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import needed, row_of, text_of
from g2rpo.benchmark.demo import LETTERS, letter_of, options_at
from g2rpo.benchmark.grading import ask, extraction_prompt, same_answer_prompt
from g2rpo.benchmark.multiple_choice import UNREAD, stated_option
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean
from g2rpo.scoring.open_answer import same_answer
from g2rpo.scoring.option import infer_option

_CHOICES = re.compile(r"\bChoices?\s*:\s*\n?(.*)$", re.DOTALL)
_LABEL = re.compile(r"(?:^|\n)\s*\(?([A-H])[:.)]\s*")
_TURNS = (
    re.compile(r"\banswer\s*(?:is|:|=)\s*:?\s*", re.IGNORECASE),
    re.compile(r"\bis\b\s*:?\s*", re.IGNORECASE),
)
_LONGEST = 2000
VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")


class MathVerse(BenchmarkBase):
    """Answer extraction, then comparison with the gold answer.

    In the original a judge does both. Here rules come first, and decide alone if there is no judge.
    """

    name = "mathverse"
    task = "math"
    protocols = ("paper", "official", "robust")
    parts = ("problem_version", "subject", "subfield", "question_type")
    needs_image = False
    """The version without images (Text Only) is asked like the others."""
    published = Published(
        row=5,
        title="MathVerse (testmini)",
        base=58.1,
        onethinker=64.3,
        grpo=64.7,
        gdpo=64.9,
        openvlthinker_v2=65.8,
    )
    demo_task = "math"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub or of the TSV.

        `Vision Only` has its problem in the image; its question is the instruction of `query_cot`.
        """
        question = next(
            (
                column
                for column in ("question", "query_cot", "query_wo")
                if text_of(record.get(column))
            ),
            "question",
        )
        row = row_of(
            self.name,
            record,
            "question_type",
            "problem_version",
            "problem_index",
            "query_wo",
            "query_cot",
            question=(question,),
        )
        for_eval = text_of(record.get("question_for_eval"))
        meta = _metadata(record.get("metadata"))
        row |= {
            column: text_of(meta[column])
            for column in ("subject", "subfield", "source")
            if text_of(meta.get(column))
        }
        row["answer"] = text_of(needed(self.name, record, "answer"))
        return row | {
            "question_for_eval": for_eval or row["question"],
            "choices": choices_in(for_eval or row["question"]),
        }

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the answer type by `question_type`."""
        return "multiple choice" if row.get("question_type") == "multi-choice" else "math"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the question under `paper`, else MathVerse's own chain-of-thought query."""
        return str(
            row["question"] if protocol == "paper" else row.get("query_cot") or row["question"]
        )

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score a completion; the rules of `paper` leave all but equal texts to a judge."""
        self.check_protocol(protocol)
        if protocol == "official":
            return _official(completion, row, judge)
        text = clean(completion) if protocol == "robust" else completion
        if not text.strip() and (judge is None or protocol != "paper"):
            return UNREAD
        verdict = _robust(completion, row) if protocol == "robust" else _paper(text, row)
        settled = verdict.score and (protocol == "robust" or text.strip() == row["answer"].strip())
        if settled or judge is None:
            return verdict
        return _judged(text, row, judge, verdict)

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns.

        Each problem comes in five versions; every second record has options.
        """
        problem, version = divmod(number, len(VERSIONS))
        chosen = number % 2 == 1
        options = options_at(prompt, wrong, number // 2)
        listed = "\n".join(
            f"{letter}:{option}" for letter, option in zip(LETTERS, options, strict=False)
        )
        question = f"{prompt.text}\nChoices:\n{listed}" if chosen else prompt.text
        goal = (
            "correct option letter, e.g., A, B, C, D"
            if chosen
            else "final value, e.g., 1, 2.5, 300"
        )
        direct = f"Please directly answer the question and provide the {goal}."
        stepwise = (
            f"Please first conduct reasoning, and then answer the question and provide the {goal},"
            " at the end."
        )
        return [
            {
                "sample_index": str(number + 1),
                "problem_index": str(problem + 1),
                "problem_version": VERSIONS[version],
                "question": question,
                "image": prompt.images[0],
                "answer": letter_of(prompt, options) if chosen else prompt.answer,
                "question_type": "multi-choice" if chosen else "free-form",
                "metadata": {
                    "split": "testmini",
                    "source": prompt.source,
                    "subject": "Functions",
                    "subfield": "Applied",
                },
                "query_wo": f"{direct}\nQuestion: {question}",
                "query_cot": f"{stepwise}\nQuestion: {question}",
                "question_for_eval": question,
            }
        ]


def choices_in(question: str) -> dict[str, str]:
    r"""Return the options in a question's text, by letter.

    >>> choices_in("How long is AB? ()\nChoices:\nA:40°\nB:60°")
    {'A': '40°', 'B': '60°'}
    """
    block = _CHOICES.search(question)
    if block is None:
        return {}
    labels = list(_LABEL.finditer(block[1]))
    ends = [label.start() for label in labels[1:]] + [len(block[1])]
    return {
        label[1]: block[1][label.end() : end].strip()
        for label, end in zip(labels, ends, strict=True)
    }


def _metadata(cell: Any) -> Mapping[str, Any]:
    """Return a mapping, also from its text; empty if the text is unreadable."""
    if isinstance(cell, str):
        for read in (json.loads, ast.literal_eval):
            try:
                cell = read(cell)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return cell if isinstance(cell, Mapping) else {}


def _is_choice(row: Mapping[str, Any]) -> bool:
    gold = row["answer"].strip()
    return row.get("question_type") == "multi-choice" or (
        not row.get("question_type") and len(gold) == 1 and gold in "ABCDEFGH"
    )


def _options(row: Mapping[str, Any]) -> Mapping[str, str]:
    choices = row.get("choices") or choices_in(
        text_of(row.get("question_for_eval") or row.get("question"))
    )
    return choices if isinstance(choices, Mapping) and choices else dict.fromkeys("ABCD", "")


def _extracted(text: str, row: Mapping[str, Any]) -> str:
    """Extract the answer by rules: the option, else what follows the last `answer is`.

    If neither is there, the whole text is the answer. Case is kept.
    """
    if _is_choice(row):
        last = text[-_LONGEST:].rpartition(" ")[2].strip(".,:;*() \n\t")
        return (
            last
            if len(last) == 1 and last.isalpha()
            else infer_option(text, _options(row)) or text.strip()[-_LONGEST:]
        )
    text = text[-_LONGEST:].rstrip(". \n")
    ends = next(
        (ends for turn in _TURNS if (ends := [match.end() for match in turn.finditer(text)])), [0]
    )
    return text[ends[-1] :].strip().partition("\n")[0].strip() if ends[-1] else text.strip()


def _paper(text: str, row: Mapping[str, Any]) -> Judgment:
    answer = _extracted(text, row)
    return Judgment(
        score=float(answer.strip() == row["answer"].strip()), parsed=True, answer=answer[:200]
    )


def _judged(text: str, row: Mapping[str, Any], judge: Judge, verdict: Judgment) -> Judgment:
    """Let the judge extract the answer and compare it; return `verdict` if the judge fails."""
    question = text_of(row.get("question_for_eval") or row.get("question"))
    extraction = ask(judge, extraction_prompt(question, text, "the option letter or the value"))
    if extraction is None:
        return verdict
    if extraction.strip() == row["answer"].strip():
        return Judgment(score=1.0, parsed=True, answer=extraction.strip()[:200], by="judge")
    reply = ask(judge, same_answer_prompt(question, extraction, row["answer"]))
    if reply is None or reply.strip() not in ("0", "1"):
        return verdict
    return Judgment(
        score=float(reply.strip()),
        parsed=extraction.strip() != "null",
        answer=extraction.strip()[:200],
        by="judge",
    )


def _official(completion: str, row: Mapping[str, Any], judge: Judge | None) -> Judgment:
    """Score by MathVerse's evaluation (`quick_match`), which extracts nothing without a judge.

    A completion that is already an extraction is compared exactly, spaces included.
    """
    if row.get("extraction_is_completion"):
        return Judgment(
            score=float(completion == row["answer"]),
            parsed=bool(completion.strip()),
            answer=completion[:200],
        )
    return (
        UNREAD
        if judge is None or not completion.strip()
        else _judged(completion, row, judge, UNREAD)
    )


def _robust(completion: str, row: Mapping[str, Any]) -> Judgment:
    """Compare options by letter, text or value, other answers by what they state."""
    text, gold = clean(completion), row["answer"].strip()
    if _is_choice(row):
        letter = stated_option(completion, _options(row))
        return (
            UNREAD
            if letter is None
            else Judgment(score=float(letter == gold), parsed=True, answer=letter)
        )
    return Judgment(
        score=float(same_answer(text, gold)), parsed=True, answer=_extracted(text, row)[:200]
    )
