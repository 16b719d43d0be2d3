"""OCRBench: 1,000 questions on reading text; the published score is the sum over the questions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import list_of, needed, row_of, text_of
from g2rpo.benchmark.multiple_choice import UNREAD
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import clean, plain
from g2rpo.scoring.statement import REFUSAL, answer_tail, core

FORMULAS = "Handwritten Mathematical Expression Recognition"
GROUPS = {
    "Scene Text-centric VQA": "scene_vqa",
    "Doc-oriented VQA": "doc_vqa",
    "Key Information Extraction": "key_information",
    FORMULAS: "formulas",
}
"""The published groups; all other categories are text recognition."""
_SHORT = 2
_QUOTES = str.maketrans(dict.fromkeys("“”'`‘’", '"'))
_ABBREVIATION = re.compile(r"(?<=\b[a-z])\.(?=\s?[a-z]\b|\s|$)|(?<=[a-z])['’](?=[a-z])")
_JOINT = re.compile(r"(?<=[a-z])[-–](?=[a-z])")
_SHORT_FRACTION = re.compile(r"\\frac(\d)(\d)")
_SHORT_ROOT = re.compile(r"\\sqrt(\w)")
_BRACES = re.compile(r"([\^_])\{(\w)\}")


class OCRBench(BenchmarkBase):
    """A gold answer must occur in the completion.

    `paper` looks for a substring, `robust` for whole words in the cleaned completion.
    """

    name = "ocrbench"
    task = "document"
    protocols = ("paper", "robust")
    answer_type = "ocr"
    parts = ("category",)
    published = Published(
        row=11,
        title="OCRBench",
        full=1000,
        base=819,
        onethinker=833,
        grpo=875,
        gdpo=897,
        openvlthinker_v2=911,
    )
    demo_task = "document"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read answers from a list, a list as text, or a single text."""
        row = row_of(self.name, record)
        # The published JSON numbers each of its data sets from 0.
        if record.get("dataset_name") and "index" not in record:
            row["id"] = f"{text_of(record['dataset_name'])}/{row['id']}"
        answer = needed(self.name, record, "answer", "answers")
        golds = list_of(answer)
        row["answer"] = [text_of(answer)] if golds is None else [text_of(gold) for gold in golds]
        row["category"] = text_of(needed(self.name, record, "category", "question_type", "type"))
        return row

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the question unchanged."""
        return str(row["question"])

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score 1 if a gold answer occurs in the completion.

        Formulas are compared without spaces and with case, everything else with spaces and without
        case.
        """
        self.check_protocol(protocol)
        text = clean(completion) if protocol == "robust" else completion
        if not text.strip():
            return UNREAD
        golds = list_of(row["answer"])
        golds = [row["answer"]] if golds is None else golds
        formula = row.get("category") == FORMULAS
        occurs = _occurs_as_words if protocol == "robust" and not formula else _occurs
        read = (
            _robust_formula if protocol == "robust" and formula else _formula if formula else _line
        )
        right = any(occurs(read(str(gold)), read(text)) for gold in golds)
        return Judgment(score=float(right), parsed=True, answer=text[:200])

    def subscores(self, row: Mapping[str, Any]) -> list[str]:
        """Return the sub-scores to which a row belongs: its category and that category's group."""
        return [
            *super().subscores(row),
            f"group/{GROUPS.get(row.get('category', ''), 'text_recognition')}",
        ]

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns."""
        return [
            {
                "dataset": prompt.source,
                "index": number,
                "question": prompt.text,
                "question_type": ("Digit String Recognition", "Doc-oriented VQA")[number % 2],
                "answer": [prompt.answer],
                "image": prompt.images[0],
            }
        ]


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


def _robust_formula(text: str) -> str:
    for long, short in (
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("$", ""),
    ):
        text = text.replace(long, short)
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", "".join(text.split()))
    return _BRACES.sub(r"\1\2", _SHORT_ROOT.sub(r"\\sqrt{\1}", text))


def _line(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _occurs(gold: str, text: str) -> bool:
    return gold in text


def _occurs_as_words(gold: str, text: str) -> bool:
    """Return whether the gold answer occurs with no letter or digit directly before or after it.

    Runs of spaces count as one; full-width characters and quotes are made plain; the dots of
    abbreviations, hyphens between letters and a full stop at the end do not count. In a refusal,
    and for a gold answer of one or two letters, it must be all that the text says.
    """
    for joint in ("", " "):
        wanted, read = (_plain_words(part, joint) for part in (gold, text))
        if wanted and wanted in (
            read,
            _plain_words(core(text), joint),
            _plain_words(answer_tail(text), joint),
        ):
            return True
        alone = REFUSAL.search(text) or (wanted.isalpha() and len(wanted) <= _SHORT)
        if not alone and _has_words(wanted, read):
            return True
        if alone and wanted and _says(wanted).search(read):
            return True
        if alone and f'"{gold.lower()}"' in text.translate(_QUOTES).lower():
            return True
    return False


def _says(gold: str) -> re.Pattern[str]:
    """Return a pattern for a sentence that ends on the gold answer: `the word is no`."""
    return re.compile(rf"\b(?:word|text|sign|letters?)\s+(?:is|says|reads)\s+{re.escape(gold)}$")


def _plain_words(text: str, joint: str) -> str:
    text = " ".join(plain(text).lower().split()).strip(".,;:!? ")
    return _JOINT.sub(joint, _ABBREVIATION.sub("", text))


def _has_words(gold: str, text: str) -> bool:
    start = text.find(gold) if gold else -1
    while start >= 0:
        before, after = text[max(0, start - 2) : start], text[start + len(gold) :][:2]
        if not _goes_on(before[::-1], gold[0]) and not _goes_on(after, gold[-1]):
            return True
        start = text.find(gold, start + 1)
    return False


def _goes_on(beside: str, edge: str) -> bool:
    """Return whether a word or a number goes on beyond its edge: `18` in `18.7`, not in `18.`."""
    if edge.isdigit() and beside[:1] in (".", ",") and beside[1:].isdigit():
        return True
    return edge.isalnum() and beside[:1].isalnum()
