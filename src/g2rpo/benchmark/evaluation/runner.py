"""One benchmark from plan to numbers: reuse saved predictions, generate the rest, score every row.

In a distributed run each rank generates its share of the groups; rank 0 reads and writes the file.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from g2rpo import ranks
from g2rpo.benchmark.evaluation.plan import Plan, Row, check_unusable
from g2rpo.benchmark.evaluation.predictions import PredictionFile, saved_row
from g2rpo.benchmark.evaluation.verdicts import Judge, judge_name, judged
from g2rpo.interfaces import Benchmark, Encoder, RolloutEngine
from g2rpo.records import Prompt, PromptBatch, Sampling

log = logging.getLogger("g2rpo")
Advance = Callable[[int], None]
Prediction = dict[str, Any]
VERDICT = (
    "score",
    "group_score",
    "parsed",
    "answer",
    "by",
    "protocol",
    "judge",
    "prediction",
    "error",
)
"""Keys of a prediction that scoring it again replaces."""


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How completions are scored: the protocol, and a judge model or None."""

    protocol: str
    judge: Judge | None = None


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How completions are generated.

    Args:
        engine: A rollout engine, started on the policy.
        encoder: Turns prompts into model inputs.
        device: Device of the model inputs.
        sampling: Sampling parameters, with one completion per row.
        batch_rows: Number of rows generated at once.
        make_prompt: Returns the prompt of a row.
        seed: Seeds sampling.
        max_unusable_frac: Largest fraction of rows that may be unusable, in [0, 1], for example
            because an image cannot be decoded.
        keep_images: Whether images stay in memory after their row is done. If False, a whole
            benchmark needs no more memory than one batch.
    """

    engine: RolloutEngine
    encoder: Encoder
    device: torch.device | str
    sampling: Sampling
    batch_rows: int
    make_prompt: Callable[[Row], Prompt]
    seed: int
    max_unusable_frac: float
    keep_images: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a benchmark, equal on all ranks."""

    numbers: dict[str, float]
    """The result of `BenchmarkMetric.compute`."""
    unusable: list[str]


class BenchmarkRun:
    """Asks and scores the rows of one benchmark; goes on where an earlier run was stopped."""

    def __init__(
        self, *, plan: Plan, generation: Generation, scoring: Scoring, folder: Path
    ) -> None:
        self.plan, self.generation, self.scoring = plan, generation, scoring
        self.file = PredictionFile(folder / f"{plan.benchmark.name}.jsonl")
        from g2rpo.benchmark.evaluation.metric import BenchmarkMetric  # torchmetrics takes seconds

        self.metric = BenchmarkMetric(subscores=plan.subscores()).to(generation.device)
        self.ids = [[str(row["id"]) for row in group] for group in plan.groups]
        self.prompts = {
            str(row["id"]): generation.make_prompt(row) for group in plan.groups for row in group
        }
        self.number = {prompt.id: n for n, prompt in enumerate(self.prompts.values())}
        self.saved: dict[str, Prediction] = {}
        self.unusable: list[str] = []

    def run(self, advance: Advance) -> Outcome:
        """Generate and score every row.

        Args:
            advance: Called with the number of rows after every batch.

        Raises:
            RuntimeError: If too many rows are unusable.
            ValueError: If the file holds rows that are not in the plan.
        """
        self._load_saved()
        done = [place for place, ids in enumerate(self.ids) if all(id in self.saved for id in ids)]
        for place in done:
            if ranks.rank() == 0:
                self._count(place, self._judged_before(place))
            advance(len(self.ids[place]))
        todo = sorted(set(range(len(self.ids))) - set(done))
        for places in self._rounds(todo[ranks.rank() :: ranks.world_size()]):
            with ranks.dropping_together():
                answered = self._answer(places)
            rows = ranks.all_gather_list(answered)
            if ranks.rank() == 0:
                self.file.append(rows)
            self.saved |= {row["id"]: row for row in rows}
            advance(len(rows))
            check_unusable(
                self.plan.benchmark.name,
                self._all_unusable(),
                self.plan.available,
                self.generation.max_unusable_frac,
            )
        if ranks.rank() == 0:
            self._rewrite()
        return Outcome(numbers=self.metric.compute(), unusable=self._all_unusable())

    def _load_saved(self) -> None:
        """Load the predictions of an earlier run, except answers to a different prompt text."""
        rows = ranks.all_gather_list(self.file.read() if ranks.rank() == 0 else [])
        foreign = [row["id"] for row in rows if row["id"] not in self.prompts]
        if foreign:
            raise ValueError(
                f"{self.file.path} holds {len(foreign)} rows that this evaluation does not use,"
                f" the first is {foreign[0]!r}: eval.limit, eval.seed or the rows have changed."
                " Choose another folder (hydra.run.dir=...), or the old settings."
            )
        self.saved = {
            row["id"]: row for row in rows if row["question"] == self.prompts[row["id"]].text
        }

    def _judged_before(self, place: int) -> list[Prediction]:
        """Return a group's saved predictions, scored by the current protocol and judge.

        Rows that failed are scored again.
        """
        rows = [self.saved[id] for id in self.ids[place]]
        now = {"protocol": self.scoring.protocol, "judge": judge_name(self.scoring.judge)}
        if any(row["by"] == "failed" or {name: row[name] for name in now} != now for row in rows):
            rows = self._judged(place, rows)
            self.saved |= {row["id"]: row for row in rows}
        return rows

    def _rounds(self, places: Sequence[int]) -> list[list[int]]:
        """Split groups into calls of the engine; every rank gets the same number of calls."""
        rounds: list[list[int]] = []
        room = 0
        for place in places:
            size = len(self.ids[place])
            if size > room:
                rounds.append([])
                room = max(self.generation.batch_rows, size)
            rounds[-1].append(place)
            room -= size
        most = int(ranks.all_reduce_max(torch.tensor(len(rounds))))
        return rounds + [[] for _ in range(most - len(rounds))]

    def _answer(self, places: Sequence[int]) -> list[Prediction]:
        """Generate and score some groups; a group with an unusable prompt is left out."""
        batch, places = self._encoded(places)
        if batch is None:
            return []
        # the completions of a row do not depend on which rows are asked with it
        position = torch.tensor([self.number[prompt.id] for prompt in batch.prompts])
        rollouts = self.generation.engine.generate(
            replace(batch, position=position).to(self.generation.device),
            self.generation.sampling,
            self.generation.seed,
        )
        answers = zip(
            rollouts.texts,
            rollouts.completion_mask.sum(1).tolist(),
            rollouts.finished.tolist(),
            strict=True,
        )
        for place in places:
            for row, id in zip(self.plan.groups[place], self.ids[place], strict=True):
                if id not in self.saved:
                    self.saved[id] = self._prediction(row, self.prompts[id], *next(answers))
        found = []
        for place in places:
            rows = self._judged(place, [self.saved[id] for id in self.ids[place]])
            self._count(place, rows)
            found += rows
            self._forget_images(place)
        return found

    def _encoded(self, places: Sequence[int]) -> tuple[PromptBatch | None, Sequence[int]]:
        """Encode the prompts of some groups that have no completion yet.

        If a prompt cannot be encoded, its group is left out and reported as unusable.
        """
        prompts = [
            self.prompts[id] for place in places for id in self.ids[place] if id not in self.saved
        ]
        if not prompts:
            return None, ()
        try:
            return self.generation.encoder.encode(prompts), places
        except ValueError:
            usable = [
                place
                for place in places
                if all([self._encodes(id) for id in self.ids[place] if id not in self.saved])
            ]
            if len(usable) == len(places):
                raise
            return self._encoded(usable)

    def _encodes(self, id: str) -> bool:
        try:
            self.generation.encoder.encode([self.prompts[id]])
        except ValueError as error:
            self.unusable.append(str(error))
            log.warning("%s: left out %s", self.plan.benchmark.name, error)
            return False
        return True

    def _prediction(
        self, row: Row, prompt: Prompt, completion: str, tokens: int, finished: bool
    ) -> Prediction:
        return {
            "id": str(row["id"]),
            "group": self.plan.benchmark.group(row),
            "task": prompt.task,
            "question": prompt.text,
            "gold": prompt.answer,
            "completion": completion,
            "tokens": tokens,
            "truncated": not finished,
            "prompted_as": self.scoring.protocol,
            "subscores": list(self.plan.benchmark.subscores(row)),
            "row": saved_row(row),
        }

    def _judged(self, place: int, rows: Sequence[Prediction]) -> list[Prediction]:
        return with_verdicts(self.plan.benchmark, self.plan.groups[place], rows, self.scoring)

    def _count(self, place: int, rows: Sequence[Prediction]) -> None:
        self.metric.update(place, rows[0]["group_score"], **row_counts(rows))

    def _forget_images(self, place: int) -> None:
        if not self.generation.keep_images:
            for row, id in zip(self.plan.groups[place], self.ids[place], strict=True):
                row["images"] = ()
                self.prompts[id] = replace(self.prompts[id], images=())

    def _all_unusable(self) -> list[str]:
        return [*self.plan.unusable, *ranks.all_gather_list(self.unusable)]

    def _rewrite(self) -> None:
        """Rewrite the file in the order of the plan, with each row once, if it differs."""
        rows = [self.saved[id] for id in self.prompts if id in self.saved]
        if rows != self.file.read():
            self.file.write(rows)


def with_verdicts(
    benchmark: Benchmark, rows: Sequence[Row], predictions: Sequence[Prediction], scoring: Scoring
) -> list[Prediction]:
    """Score the predictions of a group and replace any earlier verdicts."""
    completions = [prediction["completion"] for prediction in predictions]
    verdicts = judged(benchmark, rows, completions, protocol=scoring.protocol, judge=scoring.judge)
    kept = [
        {name: value for name, value in prediction.items() if name not in VERDICT}
        for prediction in predictions
    ]
    return [prediction | verdict for prediction, verdict in zip(kept, verdicts, strict=True)]


def row_counts(rows: Sequence[Prediction]) -> dict[str, float]:
    """Return the numbers in `metric.COUNTS`, summed over predictions."""
    return {
        "rows": len(rows),
        "parsed": sum(row["parsed"] for row in rows),
        "failed": sum(row["by"] == "failed" for row in rows),
        "by_judge": sum(row["by"] == "judge" for row in rows),
        "truncated": sum(bool(row["truncated"]) for row in rows),
        "tokens": sum(row["tokens"] or 0 for row in rows),
    }
