"""ChartQA (test): 1,250 questions written by people and 1,250 generated ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import first, list_of, needed, row_of, text_of
from g2rpo.benchmark.multiple_choice import UNREAD
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.chart import same_chart_answer
from g2rpo.scoring.extract import clean
from g2rpo.scoring.number import relaxed_match

_SPLITS = {"human": "human", "human_test": "human", "test_human": "human", "0": "human"}
_SPLITS |= {
    "augmented": "augmented",
    "augmented_test": "augmented",
    "test_augmented": "augmented",
    "1": "augmented",
}


class ChartQA(BenchmarkBase):
    """Relaxed accuracy: numbers within 5 % of the gold answer; words must match, ignoring case."""

    name = "chartqa"
    task = "chart"
    protocols = ("paper", "robust")
    answer_type = "relaxed"
    parts = ("split",)
    published = Published(
        row=8,
        title="ChartQA",
        base=82.8,
        onethinker=76.4,
        grpo=82.4,
        gdpo=82.4,
        openvlthinker_v2=87.4,
    )
    demo_task = "chart"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read a record; `type`, `human_or_machine` or `split` gives the split."""
        row = row_of(self.name, record, question=("question", "query"))
        answer = needed(self.name, record, "answer", "label")
        golds = list_of(answer) if not isinstance(answer, str) else None
        row["answer"] = (
            text_of(answer)
            if golds is None
            else text_of(golds[0])
            if len(golds) == 1
            else [text_of(gold) for gold in golds]
        )
        split = text_of(first(record, "type", "human_or_machine", "split")).lower()
        return row | ({"split": _SPLITS.get(split, split)} if split else {})

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
        """Score a completion against every gold answer, and keep the best score."""
        self.check_protocol(protocol)
        text = clean(completion) if protocol == "robust" else completion.strip()
        if not text:
            return UNREAD
        golds = list_of(row["answer"])
        golds = [row["answer"]] if golds is None else golds
        match = same_chart_answer if protocol == "robust" else relaxed_match
        return Judgment(
            score=float(any(match(text, str(gold)) for gold in golds)),
            parsed=True,
            answer=text[:200],
        )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return the prompt as a record in the Hub's columns."""
        kind = ("human_test", "augmented_test")[number % 2]
        return [
            {
                "type": kind,
                "question": prompt.text,
                "answer": prompt.answer,
                "image": prompt.images[0],
                "index": number,
            }
        ]
