"""What the benchmarks share: everything of `g2rpo.interfaces.Benchmark` that follows from `row`,
`question` and `judgment`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt

Judge = Callable[[str], str]
"""A model that answers a grading prompt; `g2rpo.scoring.option.FAILED` in its answer says that it
could not.
"""


class BenchmarkBase:
    """A benchmark that says with `row`, `question` and `judgment` what is its own.

    `sources` tells each kind of `rows` where this benchmark's records are: `{"hub": {"path": ...,
    "splits": [...]}, "tsv": {...}}`.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    protocols: ClassVar[Sequence[str]]
    answer_type: ClassVar[str] = "open ended"
    """Of its prompts, as `g2rpo.records.Prompt` names it."""
    needs_image: ClassVar[bool] = True
    parts: ClassVar[Sequence[str]] = ("split", "category")
    """Columns whose values name sub-scores, where a row has them."""
    published: ClassVar[Published | None] = None
    """What the paper prints about this benchmark, if it does."""
    demo_task: ClassVar[str | None] = None
    """Task of the gym whose prompts become demo rows; None if there are no demo rows."""

    def __init__(self, *, sources: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.sources = dict(sources or {})

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of the Hub, of a VLMEvalKit TSV or of JSON Lines in our columns. Raises
        `ValueError` with the column it cannot use.
        """
        raise NotImplementedError(f"{type(self).__name__}.row")

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Records made from one prompt, in the columns of the original data, for `eval.rows=demo`.

        Args:
            prompt: A prompt of `demo_task`.
            number: Position of the prompt, counted from 0.
            wrong: Answers that are wrong for this prompt.
        """
        raise NotImplementedError(f"{type(self).__name__}.demo")

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """The text of the prompt."""
        raise NotImplementedError(f"{type(self).__name__}.question")

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """The verdict on one completion."""
        raise NotImplementedError(f"{type(self).__name__}.judgment")

    def prompt(self, row: Mapping[str, Any], *, protocol: str = "paper") -> Prompt:
        """What the policy is asked. Its id is `<name>/<id of the row>`."""
        self.check_protocol(protocol)
        if self.needs_image and not row["images"]:
            raise ValueError(
                f"{self.name}: row {row['id']!r} has no image; expected one in the column image,"
                " image_path or decoded_image"
            )
        return Prompt(
            id=f"{self.name}/{row['id']}",
            task=self.task,
            text=self.question(row, protocol),
            images=tuple(row["images"]),
            answer=_text(row["answer"]),
            answer_type=self.type_of(row),
            source=self.name,
        )

    def type_of(self, row: Mapping[str, Any]) -> str:
        """The answer type of a row's prompt."""
        return self.answer_type

    def score(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> float:
        """The judgment's score, in [0, 1]."""
        return self.judgment(completion, row, protocol=protocol, judge=judge).score

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        protocol: str = "paper",
    ) -> float:
        """The mean over the rows; of a single row its score."""
        if len(completions) != len(rows) or not rows:
            raise ValueError(
                f"{self.name}: expected as many completions as rows, at least one; got"
                f" {len(completions)} and {len(rows)}"
            )
        return sum(
            self.score(text, row, protocol=protocol)
            for text, row in zip(completions, rows, strict=True)
        ) / len(rows)

    def group(self, row: Mapping[str, Any]) -> str:
        """The row's own id: every row counts alone."""
        return str(row["id"])

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """`<column>/<value>` for each of `parts` that the row has, in lower case with underscores:
        `category/geometry_problem`.
        """
        return [
            f"{part}/{_slug(str(row[part]))}"
            for part in self.parts
            if row.get(part) not in (None, "")
        ]

    def check_protocol(self, protocol: str) -> None:
        """Raises `ValueError` for a protocol this benchmark does not know."""
        if protocol not in self.protocols:
            raise ValueError(
                f"{self.name}: unknown protocol {protocol!r}; this benchmark knows:"
                f" {', '.join(self.protocols)}"
            )


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _slug(value: str) -> str:
    return "_".join(value.lower().split())
