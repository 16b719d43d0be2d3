"""MMBench (English, dev): every question is asked once per option, with the options rotated.

A question counts only if every pass is right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.benchmark.demo import LETTERS, letter_of, options_at, question_alone
from g2rpo.benchmark.multiple_choice import MultipleChoice
from g2rpo.benchmark.published import Published
from g2rpo.records import Prompt

PASS = 1_000_000
"""Indices of the passes of one question differ by multiples of this."""
SHORT = {
    "coarse_perception": "cp",
    "finegrained_perception (instance-level)": "fp_s",
    "finegrained_perception (cross-instance)": "fp_c",
    "logic_reasoning": "lr",
    "relation_reasoning": "rr",
    "attribute_reasoning": "ar",
}


class MMBench(MultipleChoice):
    """Circular evaluation: the score of a group is 1 if all its passes are right, else 0."""

    name = "mmbench"
    parts = ("split", "l2_category", "category")
    published = Published(
        row=2,
        title="MMBench",
        base=85.1,
        onethinker=86.6,
        grpo=86,
        gdpo=86.1,
        openvlthinker_v2=88.2,
    )
    demo_task = "general_vqa"

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read one pass of a question; `index` must be an integer, since it groups the passes."""
        row = super().row(record)
        if not row["id"].isdigit():
            raise ValueError(
                f"mmbench, record {row['id']!r}: column index: expected a whole number, which"
                " groups the passes of a question"
            )
        return row

    def group(self, row: Mapping[str, Any]) -> str:
        """Return the index of the question's first pass."""
        return str(int(row["id"]) % PASS)

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> float:
        """Return 1 if every pass is right, else 0."""
        return float(super().score_group(completions, rows, protocol=protocol, judge=judge) == 1)

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the sub-scores of six abilities and of twenty finer ones.

        The six have VLMEvalKit's short names: `l2_category/fp_s`.
        """
        ability = str(row.get("l2_category") or "").lower().replace("_", " ")
        known = {long.replace("_", " "): short for long, short in SHORT.items()}
        return super().subscores(
            {**row, "l2_category": known.get(ability, ability)} if ability else row
        )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return four passes in the TSV's columns.

        From pass to pass the options move on by one place.
        """
        options = options_at(prompt, wrong, number)
        passes = [
            options[-shift:] + options[:-shift] if shift else options
            for shift in range(len(options))
        ]
        return [
            {
                "index": number + 1 + shift * PASS,
                "question": question_alone(prompt),
                "hint": None,
                **dict(zip(LETTERS, rotated, strict=False)),
                "answer": letter_of(prompt, rotated),
                "category": "attribute_recognition",
                "l2-category": "finegrained_perception (instance-level)",
                "image": prompt.images[0],
                "source": prompt.source,
                "split": "dev",
            }
            for shift, rotated in enumerate(passes)
        ]
