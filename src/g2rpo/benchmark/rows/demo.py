"""Rows without a data set: gym prompts in the columns that each benchmark has elsewhere.

They go through `Benchmark.row` like real records. Each benchmark has prompts of its own, the same
in every run.
"""

import zlib
from collections.abc import Iterator
from itertools import islice

from g2rpo.benchmark.rows.record import Placed
from g2rpo.interfaces import Benchmark, PromptSource
from g2rpo.records import Prompt

APART = 1000
"""Distance, in prompts of the source, between the first prompts of two benchmarks."""
PLACES = 9973
"""Number of starting positions; a hash of the benchmark's name chooses one."""
DISTRACTORS = 8
"""Number of other prompts of the task whose answers serve as wrong ones."""


class DemoRows:
    """At least `rows_per_benchmark` records of each benchmark, made from prompts of `split`.

    Rows that count together stay together.
    """

    def __init__(
        self, *, prompts: PromptSource, rows_per_benchmark: int = 24, split: str = "heldout"
    ) -> None:
        if not 1 <= rows_per_benchmark < APART - DISTRACTORS:
            raise ValueError(
                f"eval.rows.rows_per_benchmark: expected 1 to {APART - DISTRACTORS - 1} rows, got"
                f" {rows_per_benchmark}"
            )
        self.prompts = prompts
        self.rows_per_benchmark = rows_per_benchmark
        self.split = split

    def records(self, benchmark: Benchmark) -> Iterator[Placed]:
        """Yield the records, each with the id of the prompt it was made from."""
        task, demo = getattr(benchmark, "demo_task", None), getattr(benchmark, "demo", None)
        if task is None or demo is None:
            raise ValueError(
                f"eval.rows=demo: benchmark {benchmark.name} defines no demo rows (demo_task and"
                " demo); choose other rows"
            )
        first = APART * (1 + zlib.crc32(benchmark.name.encode()) % PLACES)
        given = 0
        for number in range(APART - DISTRACTORS):
            if given >= self.rows_per_benchmark:
                return
            prompt = self._prompt(task, first + number)
            for record in demo(prompt, number, self._wrong(prompt, task, first)):
                given += 1
                yield prompt.id, record

    def _wrong(self, prompt: Prompt, task: str, first: int) -> list[str]:
        """Return three wrong answers: those the source gives, then the answers of other prompts."""
        others = (self._prompt(task, first + APART - 1 - k).answer for k in range(DISTRACTORS))
        return list(islice(_distinct(prompt, others), 3))

    def _prompt(self, task: str, index: int) -> Prompt:
        """Return the prompt with this index; a source that ends begins again."""
        size = self.prompts.size(task, self.split)
        if size == 0:
            raise ValueError(
                f"eval.rows.prompts: the source has no prompts of task {task} in split {self.split}"
            )
        return self.prompts.get(task, index if size is None else index % size, self.split)


def _distinct(prompt: Prompt, others: Iterator[str]) -> Iterator[str]:
    seen = {prompt.answer}
    for answers in (prompt.meta.get("wrong", ()), others):
        for answer in answers:
            if answer not in seen:
                seen.add(answer)
                yield answer
