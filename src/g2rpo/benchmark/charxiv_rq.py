"""CharXiv (validation): 1,000 reasoning questions about charts of papers, graded by a judge."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import first, images_of, needed, row_of, text_of
from g2rpo.benchmark.grading import ask, chart_prompt, json_reply
from g2rpo.benchmark.multiple_choice import UNREAD
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.amounts import stated_amount
from g2rpo.scoring.extract import clean, plain
from g2rpo.scoring.letters import stems
from g2rpo.scoring.open_answer import same_answer
from g2rpo.scoring.quantity import exact_number
from g2rpo.scoring.statement import answer_tail, core, states, trend

KINDS = {1: "text in chart", 2: "text in general", 3: "number in chart", 4: "number in general"}
SOURCES = {1: "gpt sourced", 2: "gpt inspired", 3: "human"}
RUBRICS = {
    1: (
        "the answer names the same terms as the reference; form and order do not matter (a Greek"
        " letter may be spelled out), one different term is wrong."
    ),
    2: (
        "if the question offers a set of answers, the answer is exactly one of them; otherwise it"
        " means the same as the reference."
    ),
    3: "the answer is exactly the same number; the notation does not matter.",
    4: "the answer is exactly the same number; the notation does not matter.",
}
INSTRUCTIONS = {
    1: (
        "* Answer with text that is written in the chart.\n* Separate several terms with commas.\n"
        "* Give the full names of subplots and labels, unless the question asks for less."
    ),
    2: (
        "* Answer with one of the options, if the question has options.\n* Follow the instructions"
        " in the question, if there are any.\n* Otherwise answer with a short phrase."
    ),
    3: (
        "* Answer with a number that is written in the chart, even if it is approximate. It may be"
        " part of a longer text there."
    ),
}
"""What each answer category asks for, in our words; the TSV's questions carry the original ones."""
_GREEK = {
    letter: unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")
    for letter in "αβγδεζηθικλμνξοπρστυφχψω"
}
_SEPARATOR = re.compile(r"\s*(?:,|;|\band\b|&)\s*")
_PART = re.compile(
    r"\b(?:sub-?plot|panel|sub-?figure|figure|plot|chart)s?\b(?=[\s(]+[a-z0-9]{1,2}\b)"
)
_PRONOUN = re.compile(r"^\s*(?:it|they|this)\s+(?:is\s+|are\s+)?")
_NOT_APPLICABLE = re.compile(r"\bn\s?/\s?a\b|\bna\b")
_NOUN = re.compile(r"(?<=\w)\s+(?:one|sub-?plot|panel|plot|figure|corner|side)$")
_NAMED, _OR = re.compile(r"\w\s*="), re.compile(r"\bor\b", re.IGNORECASE)
_LONGEST = 1000


class CharXivRQ(BenchmarkBase):
    """`paper` and `official` need a judge; `robust` compares numbers and terms if there is none."""

    name = "charxiv_rq"
    task = "chart"
    protocols = ("paper", "official", "robust")
    parts = ("inst_category", "qa_source")
    published = Published(
        row=9,
        title="CharXiv (RQ)",
        base=44.5,
        onethinker=44,
        grpo=50.5,
        gdpo=51.6,
        openvlthinker_v2=53,
    )
    demo_task = "chart"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record of the Hub, of the published JSON or of the TSV."""
        row = row_of(self.name, record, question=("reasoning_q", "query", "question"))
        row["images"] = row["images"] or images_of(record, "figure_path")
        row["answer"] = text_of(needed(self.name, record, "reasoning_a", "answer"))
        kind = text_of(needed(self.name, record, "reasoning_a_type", "inst_category"))
        if kind not in "1234":
            raise ValueError(
                f"charxiv_rq, record {row['id']!r}: column inst_category: expected 1 to 4, got"
                f" {kind!r}"
            )
        row["inst_category"] = int(kind)
        source = text_of(first(record, "reasoning_q_source", "qa_source"))
        row |= {"qa_source": int(source)} if source in ("1", "2", "3") else {}
        return row | ({} if "reasoning_q" in record or "query" in record else {"instructed": True})

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return `numerical` for categories 3 and 4, else the default."""
        return (
            "numerical"
            if row["inst_category"] > 2 and exact_number(row["answer"]) is not None
            else "open ended"
        )

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the question with instructions for its category, unless it has them."""
        if row.get("instructed"):
            return str(row["question"])
        decimals = len(row["answer"].partition(".")[2])
        exact = "an exact integer" if not decimals else f"a number with {decimals} decimal places"
        default = f"* Your final answer must be {exact}."
        return f"{row['question']}\n{INSTRUCTIONS.get(row['inst_category'], default)}"

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Let the judge grade a completion; without a judge only `robust` can score."""
        self.check_protocol(protocol)
        text = clean(completion) if protocol == "robust" else completion
        if not text.strip():
            return UNREAD
        if judge is None:
            return _by_rule(text, row) if protocol == "robust" else UNREAD
        kind = int(row.get("inst_category") or 2)
        reply = ask(
            judge, chart_prompt(text_of(row.get("question")), text, row["answer"], RUBRICS[kind])
        )
        verdict = None if reply is None else _read(reply, lenient=protocol == "robust")
        if verdict is None:
            return _by_rule(text, row) if protocol == "robust" else UNREAD
        return verdict

    def subscores(self, row: Mapping[str, Any]) -> list[str]:
        """Return the sub-scores by answer type and by author of the question."""
        named = {
            "inst_category": KINDS.get(row.get("inst_category") or 0),
            "qa_source": SOURCES.get(row.get("qa_source") or 0),
        }
        return list(super().subscores(named))

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns, with answer type 3."""
        return [
            {
                "image": prompt.images[0],
                "category": "cs",
                "year": "24",
                "original_id": prompt.id,
                "figure_path": f"images/{number}.jpg",
                "index": number,
                "num_subplots": 1,
                "reasoning_q": prompt.text,
                "reasoning_q_source": 3,
                "reasoning_a": prompt.answer,
                "reasoning_a_type": 3,
            }
        ]


def _read(reply: str, *, lenient: bool) -> Judgment | None:
    """Read the judge's reply; None if it is not JSON with `extracted_answer`."""
    content = json_reply(reply, lenient=lenient)
    if (
        content is None
        or "score" not in content
        or not ("extracted_answer" in content or (lenient and "extract_answer" in content))
    ):
        return None
    try:
        score = float(content["score"])
    except (TypeError, ValueError):
        return None
    if not 0 <= score <= 1:
        return None
    answer = text_of(content.get("extracted_answer", content.get("extract_answer")))
    return Judgment(score=score, parsed=True, answer=answer[:200], by="judge")


def _by_rule(text: str, row: Mapping[str, Any]) -> Judgment:
    gold = row["answer"]
    wanted = exact_number(gold)
    if wanted is not None and int(row.get("inst_category") or 3) > 2:
        exact, amount = exact_number(text), stated_amount(text)
        if exact is None and amount is None:
            return UNREAD
        values = ((exact,) if exact is not None else ()) + (amount.values() if amount else ())
        targets = (wanted, wanted / 100) if gold.strip().endswith("%") else (wanted,)
        right = any(abs(got - target) <= 1e-9 * abs(target) for got in values for target in targets)
        return Judgment(score=float(right), parsed=True, answer=f"{values[0]:g}")
    text = text[-_LONGEST:]
    parts = [text, answer_tail(text), core(text)]
    right = (
        any(part and _terms(part) == _terms(gold) for part in parts)
        or states(text, gold)
        or trend(text) == trend(gold) != ""
        or (not _NAMED.search(gold) and not _alternatives(text, gold) and same_answer(text, gold))
    )
    return Judgment(score=float(right), parsed=True, answer=text[:200])


def _alternatives(text: str, gold: str) -> bool:
    return _OR.search(text) is not None and _OR.search(gold) is None


def _terms(text: str) -> frozenset[str]:
    """Split an answer into its set of terms, as stems without spaces and hyphens.

    Case, brackets, dollar signs and backslashes are dropped, Greek letters are spelled out, and the
    word that names a part of the figure is left out: `Subplot (b)` is `b`.
    """
    text = "".join(
        f" {_GREEK[letter]} " if letter in _GREEK else letter for letter in plain(text).lower()
    )
    text = _NOT_APPLICABLE.sub("not applicable", text)
    text = _PART.sub("", _PRONOUN.sub("", text))
    text = re.sub(r"[()\[\]{}\\_.\"']+", " ", text)
    terms = (stems(_NOUN.sub("", " ".join(term.split()))) for term in _SEPARATOR.split(text))
    return frozenset(re.sub(r"[\s-]+", "", term) for term in terms if term.strip())
