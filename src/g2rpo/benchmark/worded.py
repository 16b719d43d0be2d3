"""Training prompts in the words of the benchmarks: their questions about pictures of the gym.

They are made like the rows of `eval.rows=demo`, but from the prompts of `train`, so no demo row is
among them.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hydra.utils import instantiate

from g2rpo.benchmark.demo import wrong_answers
from g2rpo.benchmark.evaluation.by_name import PUBLISHED, benchmark_settings, selected
from g2rpo.interfaces import PromptSource
from g2rpo.records import Prompt

TRIES = 100
"""Number of prompts tried until a benchmark can use one."""
APART = 10_007
"""Distance between two prompts that are tried."""


class WordedPrompts:
    """A share of a source's prompts, asked as one of the benchmarks of their task asks.

    `meta["says"]` holds the right answer in the benchmark's format, `meta["wrong"]` wrong ones.

    Args:
        prompts: Source of the prompts.
        benchmarks: Names of the benchmarks, `published` or `quick`.
        share: Share of the prompts that are asked in a benchmark's words, in [0, 1].
        protocol: Protocol of the benchmarks that writes the prompts.
    """

    def __init__(
        self,
        *,
        prompts: PromptSource,
        benchmarks: Sequence[str] | str = PUBLISHED,
        share: float = 1.0,
        protocol: str = "paper",
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"data.share: expected a share in [0, 1], got {share}")
        self.prompts, self.share, self.protocol = prompts, share, protocol
        self.benchmarks: dict[str, list[Any]] = {}
        for name in selected(benchmarks, _built):
            benchmark = _built(name)
            self.benchmarks.setdefault(benchmark.task, []).append(benchmark)

    def size(self, task: str, split: str) -> int | None:
        """Return the number of prompts that the source has; None if it is unlimited."""
        return self.prompts.size(task, split)

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt, in the source's words or in a benchmark's."""
        rng = Random(f"{split}/{task}/{index}")  # noqa: S311
        if rng.random() >= self.share or task not in self.benchmarks:
            return self.prompts.get(task, index, split)
        benchmark = rng.choice(self.benchmarks[task])
        size = self.prompts.size(benchmark.demo_task, split)
        for tried in range(TRIES):
            place = index + tried * APART
            prompt = self.prompts.get(
                benchmark.demo_task, place if size is None else place % size, split
            )
            found = self._worded(benchmark, prompt, rng)
            if found is not None:
                return found
        raise ValueError(
            f"data.prompts: expected prompts that benchmark {benchmark.name} can ask, got none in"
            f" {TRIES} of task {benchmark.demo_task}"
        )

    def _worded(self, benchmark: Any, prompt: Prompt, rng: Random) -> Prompt | None:
        """Return the benchmark's question about a prompt; None if it cannot use the prompt."""
        records = benchmark.demo(prompt, rng.randrange(TRIES), wrong_answers(prompt))
        if not records:
            return None
        row = benchmark.row(rng.choice(records))
        says = benchmark.said(row, prompt.answer)
        wrong = [benchmark.said(row, answer) for answer in wrong_answers(prompt)]
        wrong = [answer for answer in dict.fromkeys(wrong) if answer != says]
        if not wrong:
            return None
        asked = benchmark.prompt(row, protocol=self.protocol)
        own = {key: value for key, value in prompt.meta.items() if key != "tolerance"}
        choices = row.get("choices")
        meta = {**own, "says": says, "wrong": wrong}
        if choices:
            meta["options"] = choices
        return replace(asked, id=f"{benchmark.name}/{prompt.id}", meta=meta)


def _built(name: str) -> Any:
    return instantiate(benchmark_settings(name))
