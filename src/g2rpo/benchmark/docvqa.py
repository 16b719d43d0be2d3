"""DocVQA (validation): 5,349 questions about scanned pages, scored by ANLS."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import list_of, needed, row_of, text_of
from g2rpo.benchmark.multiple_choice import UNREAD
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean
from g2rpo.scoring.statement import answer_tail
from g2rpo.scoring.text import anls, readable

_EDGE = "\"'*`“”\u2018\u2019 "
_STATED = re.compile(
    r"(?:.{0,60}?\b(?:is|are|was|were|reads|says)\b(?:\s+(?:dated|called|named|titled)\b)?\s*:?|.{0,40}?\banswer\b\s*[:=]"
    r"|(?:according\s+to|based\s+on|in)\s+[^,:.\n]{0,40}[,:]|\W{0,4}\w+(?:\s+\w+){0,3}\W{0,2}:\W{0,4}?)\s+",
    re.IGNORECASE,
)
"""What introduces an answer."""
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_FORMULA = re.compile(r"^\$([^$]*)(?<!\\)\$$")
_ESCAPED = re.compile(r"\\([$%&#_])")


class DocVQA(BenchmarkBase):
    """Average normalized Levenshtein similarity (ANLS), best over the gold answers.

    A similarity below one half counts 0. `robust` cleans the completion first.
    """

    name = "docvqa"
    task = "document"
    protocols = ("paper", "robust")
    answer_type = "ocr"
    parts: ClassVar[Sequence[str]] = ("question_types",)
    published = Published(
        row=10,
        title="DocVQA",
        base=95.3,
        onethinker=95,
        grpo=95.9,
        gdpo=95.6,
        openvlthinker_v2=96.7,
    )
    demo_task = "document"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record; test splits, which hide the gold answers, are refused."""
        row = row_of(self.name, record)
        answer = needed(self.name, record, "answers", "answer")
        golds = list_of(answer)
        golds = [answer] if golds is None else golds
        row["answer"] = [text_of(gold) for gold in golds]
        if not any(row["answer"]):
            raise ValueError(
                f"{self.name}, record {row['id']!r}: column answers: expected at least one answer,"
                f" got {answer!r}"
            )
        return row | {
            column: kinds for column in self.parts if (kinds := _kinds(record.get(column)))
        }

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return VLMEvalKit's prompt."""
        return f"{row['question']}\nAnswer the question using a single word or phrase."

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score a completion by ANLS.

        Under `paper` outer spaces stay, as in VLMEvalKit: they raise the score of a partial match.
        """
        self.check_protocol(protocol)
        text = clean(completion).strip(_EDGE) if protocol == "robust" else completion
        if not text.strip() and all(list_of(row["answer"]) or [row["answer"]]):
            return UNREAD
        golds = list_of(row["answer"])
        golds = [str(row["answer"])] if golds is None else [str(gold) for gold in golds]
        if protocol == "robust":
            text, golds = readable(text), [readable(gold) for gold in golds]
        parts = [text]
        if protocol == "robust":  # what a sentence states counts as if it stood alone
            parts += [tail for tail in (answer_tail(text).strip(_EDGE),) if tail]
            stated = _STATED.match(text)
            parts += [text[stated.end() :].strip(_EDGE)] if stated else []
            parts += [part.rstrip(". ").strip(_EDGE) for part in parts if part.endswith(".")]
            parts += [_unescaped(part) for part in parts if "$" in part or "\\" in part]
        score = max(anls(part, golds) for part in parts)
        return Judgment(score=score, parsed=True, answer=text[:200])

    def subscores(self, row: Mapping[str, Any]) -> list[str]:
        """Return one sub-score per question type, such as `question_types/table/list`."""
        return [
            name
            for part in self.parts
            for kind in row.get(part, ())
            for name in super(DocVQA, self).subscores({part: kind})
        ]

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns."""
        return [
            {
                "questionId": str(number),
                "question": prompt.text,
                "question_types": ["free_text"],
                "image": prompt.images[0],
                "docId": number,
                "answers": [prompt.answer],
                "data_split": "val",
            }
        ]


def _unescaped(text: str) -> str:
    r"""Return the text without LaTeX: `$5` for `\$5`, `a` for `$\text{a}$`."""
    text = _WRAPPED.sub(r"\1", text.strip()).removeprefix("\\(").removesuffix("\\)")
    text = _FORMULA.sub(lambda match: match[1], text)
    return _ESCAPED.sub(r"\1", text).strip()


def _kinds(cell: Any) -> list[str]:
    kinds = list_of(cell)
    return [text_of(kind) for kind in ([cell] if kinds is None else kinds) if text_of(kind)]
