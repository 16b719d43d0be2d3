"""`conf/eval`: which benchmarks are asked, with which rows, how, and how their answers are
judged.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from hydra.utils import instantiate
from torch import Tensor

from g2rpo.benchmark.evaluation.by_name import benchmark_names, benchmark_settings
from g2rpo.benchmark.evaluation.plan import Plan, Row, RowSource, make_plan
from g2rpo.benchmark.evaluation.predictions import claim_folder
from g2rpo.benchmark.evaluation.results import Entry, entry
from g2rpo.benchmark.evaluation.runner import Asking, BenchmarkRun, Scoring
from g2rpo.benchmark.evaluation.verdicts import Judge
from g2rpo.interfaces import Benchmark, Encoder, RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt, Sampling

Protocol = Literal["paper", "official", "robust", "vlmevalkit"]
ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""`with progress_bar(name, total) as advance: advance(n)` shows how far a stage of the run is."""
SAMPLED_VALUES = 8
PUBLISHED = "published"
"""Stands for the names of all benchmarks that the paper reports."""


class SuiteEvaluation:
    """The benchmarks of one `eval` choice. Building it builds the benchmarks and the row source,
    and reads no row.

    Args:
        benchmarks: Names of the benchmarks to ask; `published` stands for all that the paper
            reports, in its order.
        suite: By name, what differs from `conf/benchmark/<name>.yaml`: some of its keys, a whole
            `_target_`, or an object.
        rows: Name of a source in `row_sources`, or a source itself, as an object or with
            `_target_`.
        row_sources: Row sources by name.
        root: Takes the place of a row source's `folder`.
        protocol: How answers are asked for and judged; every chosen benchmark has to know it.
        judge: Answers grading prompts, where a benchmark's protocol asks for one; None: rules alone
            decide.
        template: Puts instructions around a question, as `conf/template` does; None asks as the
            benchmark does.
        limit: Rows per benchmark at most, by whole groups; None for all.
        seed: Of the choice of rows and of sampling.
        temperature: 0 is greedy.
        top_p: See `Sampling`.
        max_new_tokens: A completion is cut here.
        batch_rows: Rows generated for at once.
        max_unusable_frac: Share of a benchmark's rows that may be unusable before the evaluation
            stops.
    """

    def __init__(
        self,
        *,
        benchmarks: Sequence[str] | str,
        rows: Any,
        row_sources: Mapping[str, Any],
        max_new_tokens: int,
        suite: Mapping[str, Any] | None = None,
        root: str | None = None,
        protocol: str = "paper",
        judge: Any = None,
        template: Any = None,
        limit: int | None = None,
        seed: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        batch_rows: int = 16,
        max_unusable_frac: float = 0.01,
    ) -> None:
        if protocol not in get_args(Protocol):
            raise ValueError(
                f"eval.protocol: expected one of {', '.join(get_args(Protocol))}, got {protocol!r}"
            )
        for name, value in {"limit": limit, "batch_rows": batch_rows}.items():
            if value is not None and value < 1:
                raise ValueError(f"eval.{name}: expected at least 1, got {value}")
        if not 0 <= max_unusable_frac <= 1:
            raise ValueError(
                f"eval.max_unusable_frac: expected a share in [0, 1], got {max_unusable_frac}"
            )
        self._suite = dict(suite or {})
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        self.judge: Judge | None = built(judge, "eval.judge")
        self.scoring = Scoring(protocol=protocol, judge=self.judge)
        self.benchmarks = (
            self._published()
            if benchmarks == PUBLISHED
            else [self.benchmark(name) for name in benchmarks]
        )
        self.template = built(template, "eval.template")
        self.limit, self.seed, self.batch_rows = limit, seed, batch_rows
        self.max_unusable_frac = max_unusable_frac
        self.rows_name = rows if isinstance(rows, str) else _target(rows)
        self.root = root
        self.source: RowSource | None = (
            self._source(rows, row_sources, root) if self.benchmarks else None
        )

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark of this name. Raises `ValueError` if there is none, or if it lacks the
        protocol.
        """
        found = self._found(name)
        if self.scoring.protocol not in found.protocols:
            raise ValueError(
                f"eval.protocol={self.scoring.protocol}: benchmark {name} has no such protocol,"
                f" only: {', '.join(found.protocols)}; choose one of these, or leave the benchmark"
                " out of eval.benchmarks"
            )
        return found

    def _found(self, name: str) -> Benchmark:
        own = self._suite.get(name, {})
        if isinstance(own, Mapping) and "_target_" not in own:
            own = {**benchmark_settings(name), **own}
        found: Benchmark = built(own, f"eval.suite.{name}")
        return found

    def _published(self) -> list[Benchmark]:
        """Benchmarks with published scores, in the paper's order."""
        rows = {name: getattr(self._found(name), "published", None) for name in benchmark_names()}
        return [
            self.benchmark(name)
            for name in sorted(filter(rows.get, rows), key=lambda name: rows[name].row)
        ]

    def settings(self) -> dict[str, Any]:
        """What the completions depend on besides the weights, by the key that a person types."""
        sampling = {
            f"eval.{name}": getattr(self.sampling, name)
            for name in ("temperature", "top_p", "max_new_tokens")
        }
        where = {
            "eval.rows": self.rows_name,
            "eval.root": None if self.root is None else str(Path(self.root).resolve()),
        }
        return sampling | where | ({"eval.seed": self.seed} if self.sampling.temperature else {})

    def plan(self, benchmark: Benchmark) -> Plan:
        """The rows that a benchmark is asked for."""
        assert self.source is not None
        return make_plan(
            benchmark,
            self.source,
            limit=self.limit,
            seed=self.seed,
            max_unusable_frac=self.max_unusable_frac,
        )

    def run(
        self,
        engine: RolloutEngine,
        encoder: Encoder,
        folder: Path,
        *,
        model: Mapping[str, Any],
        device: torch.device | str,
        progress_bar: ProgressBar,
        plans: dict[str, Plan] | None = None,
        overwrite: bool = False,
    ) -> dict[str, Entry]:
        """Asks every benchmark; writes `folder/<benchmark>.jsonl`, and goes on where an earlier run
        in that folder stood.

        Args:
            engine: Started on the policy.
            model: What tells these weights from others; see `weights_digest`.
            progress_bar: Shows progress.
            plans: Rows that were read before, by benchmark; what is read is added.
            overwrite: Predictions of other settings in `folder` are removed instead of refused.

        Returns:
            By benchmark, what `summary.json` holds of it.
        """
        claim_folder(folder, {**model, **self.settings()}, overwrite=overwrite)
        entries = {}
        for benchmark in self.benchmarks:
            plan = (plans or {}).get(benchmark.name) or self.plan(benchmark)
            if plans is not None:
                plans[benchmark.name] = plan
            asking = Asking(
                engine=engine,
                encoder=encoder,
                device=device,
                sampling=self.sampling,
                batch_rows=self.batch_rows,
                prompted=lambda row, benchmark=benchmark: self.prompt(benchmark, row),
                seed=self.seed,
                max_unusable_frac=self.max_unusable_frac,
                keep_images=plans is not None,
            )
            with progress_bar(benchmark.name, plan.num_rows) as advance:
                outcome = BenchmarkRun(
                    plan=plan, asking=asking, scoring=self.scoring, folder=folder
                ).run(advance)
            entries[benchmark.name] = entry(
                benchmark,
                outcome.numbers,
                scoring=self.scoring,
                rows_from=self.rows_name,
                limit=self.limit,
                available=plan.available,
                unusable=len(outcome.unusable),
            )
        return entries

    def prompt(self, benchmark: Benchmark, row: Row) -> Prompt:
        """What the policy is asked."""
        prompt = benchmark.prompt(row, protocol=self.scoring.protocol)
        return (
            prompt
            if self.template is None
            else replace(prompt, text=self.template.text(prompt.text, (), prompt.answer_type))
        )

    def _source(self, rows: Any, row_sources: Mapping[str, Any], root: str | None) -> RowSource:
        if isinstance(rows, str) and rows not in row_sources:
            raise ValueError(
                f"eval.rows: unknown source {rows!r}; expected one of {', '.join(row_sources)}, or"
                " a source with _target_"
            )
        chosen = row_sources[rows] if isinstance(rows, str) else rows
        if root is not None:
            if not (isinstance(chosen, Mapping) and "folder" in chosen):
                raise ValueError(
                    f"eval.root: eval.rows={self.rows_name} reads no folder; leave eval.root out"
                )
            chosen = {**chosen, "folder": root}
        if isinstance(chosen, Mapping) and chosen.get("folder", "") is None:
            raise ValueError(
                f"eval.root: eval.rows={self.rows_name} needs the folder with the files"
            )
        found = built(chosen, "eval.rows")
        if not isinstance(found, RowSource):
            raise ValueError(
                f"eval.rows: expected an object with records(benchmark), got {type(found).__name__}"
            )
        return found


def built(part: Any, key: str) -> Any:
    """An object as it is; one that is described by `_target_` and arguments is made. Raises
    `ValueError` with its key.
    """
    if not (isinstance(part, Mapping) and "_target_" in part):
        return part
    try:
        return instantiate(part, _convert_="all")
    except Exception as error:
        raise ValueError(f"{key}: {error.__cause__ or error}") from error


def model_settings(model: Checkpoint) -> dict[str, Any]:
    """What completions depend on besides the weights' values, by the key that a person types."""
    path = str(Path(model.path).resolve()) if Path(model.path).exists() else model.path
    return {
        "model.path": path,
        "model.dtype": model.dtype,
        "model.min_pixels": model.min_pixels,
        "model.max_pixels": model.max_pixels,
    }


def _target(rows: Any) -> str:
    return str(rows["_target_"]) if isinstance(rows, Mapping) else type(rows).__name__


def weights_digest(parameters: Iterable[tuple[str, Tensor]]) -> str:
    """Twelve hex digits that differ where weights do: a few values of every tensor, read to the
    bit. Twice the same on any device.
    """
    digest = hashlib.sha256()
    for name, values in parameters:
        flat = values.detach().reshape(-1)
        digest.update(f"{name} {tuple(values.shape)}".encode())
        if len(flat):
            few = flat[:: math.ceil(len(flat) / SAMPLED_VALUES)]
            digest.update(few.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
