"""Base class of all benchmarks.

It implements `g2rpo.interfaces.Benchmark` on top of three methods: `row`, `question`, `judgment`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from g2rpo.benchmark.published import Published
from g2rpo.records import Judgment, Prompt

Judge = Callable[[str], str]
"""A model that answers a grading prompt. It reports a failure with `g2rpo.scoring.option.FAILED`.
"""


class BenchmarkBase:
    """A benchmark; subclasses define `row`, `question` and `judgment`.

    Args:
        sources: Where each kind of `rows` finds the records of this benchmark, for example
            `{"hub": {"path": ..., "splits": [...]}, "tsv": {...}}`.
        quick: Whether `eval=quick` asks this benchmark.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    protocols: ClassVar[Sequence[str]]
    answer_type: ClassVar[str] = "open ended"
    """Answer type of the prompts; see `g2rpo.records.Prompt`."""
    reads_thinking: ClassVar[Sequence[str]] = ()
    """Protocols that get the whole completion; the others get it without thinking and tags."""
    needs_image: ClassVar[bool] = True
    parts: ClassVar[Sequence[str]] = ("split", "category")
    """Columns whose values name sub-scores, if a row has them."""
    published: ClassVar[Published | None] = None
    """The scores that the paper reports; None if it does not report this benchmark."""
    demo_task: ClassVar[str | None] = None
    """Task of the gym whose prompts become demo rows; None if there are no demo rows."""

    def __init__(
        self, *, sources: Mapping[str, Mapping[str, Any]] | None = None, quick: bool = False
    ) -> None:
        self.sources = dict(sources or {})
        self.quick = quick

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a record of the Hub, of a VLMEvalKit TSV or of JSON Lines into our columns.

        Raises:
            ValueError: If a column cannot be used; the message names it.
        """
        raise NotImplementedError(f"{type(self).__name__}.row")

    def demo(self, prompt: Prompt, number: int, wrong: Sequence[str]) -> list[dict[str, Any]]:
        """Convert one prompt into records in the columns of the original data.

        They are the rows of `eval.rows=demo`.

        Args:
            prompt: A prompt of `demo_task`.
            number: Position of the prompt, counted from 0.
            wrong: Answers that are wrong for this prompt.
        """
        raise NotImplementedError(f"{type(self).__name__}.demo")

    def said(self, row: Mapping[str, Any], answer: str) -> str:
        """Return how a completion gives `answer`, right or wrong, to a demo row.

        Args:
            row: The row of a record that `demo` made.
            answer: An answer to the prompt it was made from.
        """
        return answer

    def gold_completion(self, row: Mapping[str, Any]) -> str:
        """Return a completion that is right: the gold answer, or the first of several."""
        golds = row["answer"]
        return str(golds[0]) if isinstance(golds, list) else str(golds)

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return the text of the prompt."""
        raise NotImplementedError(f"{type(self).__name__}.question")

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score one completion."""
        raise NotImplementedError(f"{type(self).__name__}.judgment")

    def prompt(self, row: Mapping[str, Any], *, protocol: str = "paper") -> Prompt:
        """Return the prompt for the policy; its id is `<name>/<id of the row>`."""
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
        """Return the answer type of a row's prompt."""
        return self.answer_type

    def score(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> float:
        """Return the judgment's score, in [0, 1]."""
        return self.judgment(completion, row, protocol=protocol, judge=judge).score

    def score_group(
        self,
        completions: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> float:
        """Return the score in [0, 1] of rows that count together: by default the mean.

        Every row is scored by `score`, with the same judge.
        """
        if len(completions) != len(rows) or not rows:
            raise ValueError(
                f"{self.name}: expected as many completions as rows, at least one; got"
                f" {len(completions)} and {len(rows)}"
            )
        return sum(
            self.score(text, row, protocol=protocol, judge=judge)
            for text, row in zip(completions, rows, strict=True)
        ) / len(rows)

    def group(self, row: Mapping[str, Any]) -> str:
        """Return the name of a row's group: by default its id, so every row counts alone."""
        return str(row["id"])

    def subscores(self, row: Mapping[str, Any]) -> Sequence[str]:
        """Return the names of a row's sub-scores, `<column>/<value>` for each of `parts` it has.

        Names are in lower case with underscores: `category/geometry_problem`.
        """
        return [
            f"{part}/{_slug(str(row[part]))}"
            for part in self.parts
            if row.get(part) not in (None, "")
        ]

    def check_protocol(self, protocol: str) -> None:
        """Raise `ValueError` if this benchmark does not know the protocol."""
        if protocol not in self.protocols:
            raise ValueError(
                f"{self.name}: unknown protocol {protocol!r}; this benchmark knows:"
                f" {', '.join(self.protocols)}"
            )


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _slug(value: str) -> str:
    return "_".join(value.lower().split())
