"""Rows without a data set: prompts of a prompt source, written in the columns that each benchmark has on the Hub or as a TSV.

They go through `Benchmark.row` as real records do. Each benchmark has prompts of its own, the same in every run.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from g2rpo.interfaces import Benchmark, PromptSource
from g2rpo.records import Prompt
from g2rpo.rows import demo_choices, demo_open, demo_places
from g2rpo.rows.record import Placed

Write = Callable[[Prompt, int, Sequence[str]], list[dict[str, Any]]]
"""`write(prompt, number, wrong)`: the records of one prompt, of which `wrong` are wrong answers."""
RECIPES: dict[str, tuple[str, Write]] = {
    "mmmu": ("general_vqa", demo_choices.mmmu),
    "mmbench": ("general_vqa", demo_choices.mmbench),
    "mmstar": ("general_vqa", demo_choices.mmstar),
    "mathvista": ("math", demo_open.mathvista),
    "mathverse": ("math", demo_open.mathverse),
    "mathvision": ("math", demo_open.mathvision),
    "ai2d": ("chart", demo_choices.ai2d),
    "chartqa": ("chart", demo_open.chartqa),
    "charxiv_rq": ("chart", demo_open.charxiv_rq),
    "embspatial": ("spatial", demo_choices.embspatial),
    "refspatial": ("grounding", demo_places.refspatial),
    "robospatial": ("grounding", demo_places.robospatial),
    "docvqa": ("document", demo_open.docvqa),
    "ocrbench": ("document", demo_open.ocrbench),
    "infovqa": ("document", demo_open.infovqa),
    "refcoco": ("grounding", demo_places.refcoco),
    "refcoco_plus": ("grounding", demo_places.refcoco),
    "refcocog": ("grounding", demo_places.refcoco),
}
"""The task each benchmark's prompts are drawn from, and how a prompt becomes records. Pointing needs prompts whose answer is a box."""
APART = 1000
"""Prompts of the source between the first of one benchmark and the first of the next."""
DISTRACTORS = 8
"""Other prompts of the task whose answers serve as wrong ones."""


class DemoRows:
    """At least `rows_per_benchmark` records of each benchmark, from prompts of `split`; rows that count together stay together."""

    def __init__(self, *, prompts: PromptSource, rows_per_benchmark: int = 24, split: str = "heldout") -> None:
        if not 1 <= rows_per_benchmark < APART - DISTRACTORS:
            raise ValueError(f"eval.rows.rows_per_benchmark: expected 1 to {APART - DISTRACTORS - 1} rows, got {rows_per_benchmark}")
        self.prompts = prompts
        self.rows_per_benchmark = rows_per_benchmark
        self.split = split

    def records(self, benchmark: Benchmark) -> Iterator[Placed]:
        """The records with the id of the prompt each was made from."""
        if benchmark.name not in RECIPES:
            raise ValueError(f"eval.rows=demo has no rows for {benchmark.name}, only for {', '.join(RECIPES)}; choose other rows")
        task, write = RECIPES[benchmark.name]
        first = APART * (1 + list(RECIPES).index(benchmark.name))
        given = 0
        for number in range(APART - DISTRACTORS):
            if given >= self.rows_per_benchmark:
                return
            prompt = self._prompt(task, first + number)
            for record in write(prompt, number, self._wrong(prompt, task, first)):
                given += 1
                yield prompt.id, record

    def _wrong(self, prompt: Prompt, task: str, first: int) -> list[str]:
        """Three answers that are not this prompt's: those the source itself gives, then those of other prompts."""
        others = (self._prompt(task, first + APART - 1 - k).answer for k in range(DISTRACTORS))
        return list(islice(_distinct(prompt, others), 3))

    def _prompt(self, task: str, index: int) -> Prompt:
        """The prompt with this index; a source that ends begins again."""
        size = self.prompts.size(task, self.split)
        if size == 0:
            raise ValueError(f"eval.rows.prompts: the source has no prompts of task {task} in split {self.split}")
        return self.prompts.get(task, index if size is None else index % size, self.split)


def _distinct(prompt: Prompt, others: Iterator[str]) -> Iterator[str]:
    seen = {prompt.answer}
    for answers in (prompt.meta.get("wrong", ()), others):
        for answer in answers:
            if answer not in seen:
                seen.add(answer)
                yield answer
