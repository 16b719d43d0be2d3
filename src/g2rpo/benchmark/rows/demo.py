"""Rows without a data set: gym prompts in the columns that each benchmark has elsewhere.

They go through `Benchmark.row` like real records. Each benchmark has prompts of its own, the same
in every run.
"""

import zlib
from collections import Counter
from collections.abc import Iterator

from g2rpo.benchmark.demo import wrong_answers
from g2rpo.benchmark.rows.record import Placed
from g2rpo.interfaces import Benchmark, PromptSource
from g2rpo.records import Prompt

APART = 1000
"""Distance, in prompts of the source, between the first prompts of two benchmarks."""
PLACES = 9973
"""Number of starting positions; a hash of the benchmark's name chooses one."""
COMMONEST = 4
"""An answer of an endless source is right in at most one row out of this many, so that a fixed
answer earns little.
"""
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
        endless, given, number = self.prompts.size(task, self.split) is None, 0, 0
        most, golds = -(-self.rows_per_benchmark // COMMONEST), Counter[str]()
        for place in range(APART - DISTRACTORS):
            if given >= self.rows_per_benchmark:
                return
            prompt = self._prompt(task, first + place)
            if endless and golds[prompt.answer] >= most:
                continue
            records = demo(prompt, number, self._wrong(prompt, task, first))
            if records:
                number += 1
                golds[prompt.answer] += len(records)
            for record in records:
                given += 1
                yield prompt.id, record

    def _wrong(self, prompt: Prompt, task: str, first: int) -> list[str]:
        """Return three wrong answers: those the source gives, then the answers of other prompts."""
        others = (self._prompt(task, first + APART - 1 - k).answer for k in range(DISTRACTORS))
        return wrong_answers(prompt, others)

    def _prompt(self, task: str, index: int) -> Prompt:
        """Return the prompt with this index; a source that ends begins again."""
        size = self.prompts.size(task, self.split)
        if size == 0:
            raise ValueError(
                f"eval.rows.prompts: the source has no prompts of task {task} in split {self.split}"
            )
        return self.prompts.get(task, index if size is None else index % size, self.split)
