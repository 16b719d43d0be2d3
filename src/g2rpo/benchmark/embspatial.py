"""EmbSpatial-Bench: 3,640 questions on spatial relations in rooms, with four options each.

The images come from three collections of simulated and scanned rooms.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from g2rpo.benchmark.base import Judge
from g2rpo.benchmark.columns import text_of
from g2rpo.benchmark.demo import options_at, question_alone
from g2rpo.benchmark.grading import ask, grade_prompt
from g2rpo.benchmark.multiple_choice import UNREAD, MultipleChoice, judge_option, options_of
from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt
from g2rpo.scoring.extract import without_thinking
from g2rpo.scoring.spatial_option import spatial_option


class EmbSpatial(MultipleChoice):
    """Multiple choice; the answer is a 0-based number on the Hub and a letter in the TSV."""

    name = "embspatial"
    task = "spatial"
    parts = ("data_source", "relation")
    extra = ("data_source", "relation")
    published = Published(
        row=13,
        title="EmbSpatial",
        base=78.2,
        onethinker=79.9,
        grpo=79.9,
        gdpo=79.9,
        openvlthinker_v2=83.1,
    )
    demo_task = "spatial"

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return VLMEvalKit's prompt."""
        listed = "".join(f"{letter}: {text}\n" for letter, text in options_of(row).items())
        return (
            f"Question: {row['question']}\nOptions:\n{listed}Give me the answer letter directly."
            " The best answer is:"
        )

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score a completion by the judge's grade: A right, B wrong, C no answer.

        The rules decide if there is no judge, if it fails, or if it says anything else.
        """
        self.check_protocol(protocol)
        if not completion.strip():
            return UNREAD
        graded = None if judge is None else _graded(completion, row, judge)
        if graded is not None:
            return graded
        if protocol == "robust":
            return judge_option(completion, row, options_of(row), row["answer"], robust=True)
        letter = spatial_option(completion)
        return (
            UNREAD
            if letter is None
            else Judgment(
                score=float(letter == spatial_option(row["answer"])), parsed=True, answer=letter
            )
        )

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Return a record in the Hub's columns, or none for a prompt without options."""
        if prompt.answer_type != "multiple choice":
            return []
        options = options_at(prompt, wrong, number)
        return [
            {
                "data_source": prompt.source,
                "question_id": f"{prompt.source}_{number}",
                "question": question_alone(prompt),
                "relation": prompt.answer,
                "image": prompt.images[0],
                "answer_options": options,
                "answer": options.index(prompt.answer),
            }
        ]

    def said(self, row: Mapping[str, Any], answer: str) -> str:
        """Return the letter of the option; the rules of `paper` read nothing else."""
        return next(letter for letter, text in options_of(row).items() if text == answer)


def _graded(completion: str, row: Mapping[str, Any], judge: Judge) -> Judgment | None:
    reply = ask(
        judge,
        grade_prompt(text_of(row.get("question")), options_of(row), completion, row["answer"]),
    )
    grade = "" if reply is None else without_thinking(reply).strip()
    if grade[:1] not in ("A", "B", "C") or grade[1:2].isalnum():
        return None
    return Judgment(
        score=float(grade[0] == "A"),
        parsed=grade[0] != "C",
        answer=spatial_option(completion) or "",
        by="judge",
    )
