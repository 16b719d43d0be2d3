"""The `eval` choice of a run: which benchmarks, which rows, how to generate, how to score."""

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

from g2rpo.benchmark.evaluation.by_name import benchmark_settings, selected
from g2rpo.benchmark.evaluation.chance import chance
from g2rpo.benchmark.evaluation.plan import Plan, Row, RowSource, make_plan
from g2rpo.benchmark.evaluation.predictions import claim_folder
from g2rpo.benchmark.evaluation.results import Entry, entry
from g2rpo.benchmark.evaluation.runner import BenchmarkRun, Generation, Scoring
from g2rpo.benchmark.evaluation.verdicts import Judge
from g2rpo.interfaces import Benchmark, Encoder, RolloutEngine
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.forward import full_tensor
from g2rpo.records import Prompt, Sampling

Protocol = Literal["paper", "official", "robust", "vlmevalkit"]
ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""`with progress_bar(name, total) as advance: advance(n)` shows the progress of a stage."""
SAMPLED_VALUES = 8


class SuiteEvaluation:
    """The benchmarks of one `eval` choice.

    Constructing it builds the benchmarks and the row source, and reads no row.

    Args:
        benchmarks: Names of the benchmarks to run, `published` or `quick`; see `selected`.
        suite: Changes to `conf/benchmark/<name>.yaml` by benchmark name: some of its keys, a whole
            `_target_`, or an object.
        rows: Name of a source in `row_sources`, or a source itself, as an object or with
            `_target_`.
        row_sources: Row sources by name.
        root: Replaces the `folder` of the row source.
        protocol: How completions are prompted for and scored; every benchmark must support it.
        judge: Model for grading prompts, if the protocol needs one; None scores by rules alone.
        template: Adds instructions around a question, as `conf/template` does; None adds nothing.
        limit: Maximum number of rows per benchmark, in whole groups; None for all.
        seed: Seeds the draw of rows and sampling.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Nucleus sampling: tokens come from the smallest set with at least this probability.
        max_new_tokens: Maximum number of tokens per completion.
        batch_rows: Number of rows generated at once.
        max_unusable_frac: Largest fraction of a benchmark's rows that may be unusable, in [0, 1].
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
                f"eval.max_unusable_frac: expected a fraction in [0, 1], got {max_unusable_frac}"
            )
        self._suite = dict(suite or {})
        self.sampling = Sampling(
            group_size=1, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p
        )
        self.judge: Judge | None = built(judge, "eval.judge")
        self.scoring = Scoring(protocol=protocol, judge=self.judge)
        self.benchmarks = [self.benchmark(name) for name in self.names(benchmarks)]
        self.template = built(template, "eval.template")
        self.limit, self.seed, self.batch_rows = limit, seed, batch_rows
        self.max_unusable_frac = max_unusable_frac
        self.rows_name = rows if isinstance(rows, str) else _target(rows)
        self.root = root
        self.source: RowSource | None = (
            self._source(rows, row_sources, root) if self.benchmarks else None
        )

    def benchmark(self, name: str) -> Benchmark:
        """Return the benchmark of this name.

        Raises:
            ValueError: If there is no such benchmark, or if it does not support the protocol.
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

    def names(self, benchmarks: Sequence[str] | str) -> list[str]:
        """Return the names that `benchmarks` stands for; see `selected`."""
        return selected(benchmarks, self._found)

    def settings(self) -> dict[str, Any]:
        """Return the settings besides the model that completions depend on, by key."""
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
        """Return the rows that a benchmark is evaluated on."""
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
        """Evaluate every benchmark and write `folder/<benchmark>.jsonl`; resume if it exists.

        Args:
            engine: A rollout engine, started on the policy.
            encoder: Turns prompts into model inputs.
            folder: Folder of the predictions.
            model: Settings that identify the weights; see `weights_digest`.
            device: Device of the model inputs.
            progress_bar: Shows progress.
            plans: Plans that were made before, by benchmark; new ones are added.
            overwrite: Whether predictions of different settings in `folder` are removed instead of
                refused.

        Returns:
            The `benchmarks` entry of `summary.json`.
        """
        claim_folder(folder, {**model, **self.settings()}, overwrite=overwrite)
        entries = {}
        for benchmark in self.benchmarks:
            plan = (plans or {}).get(benchmark.name) or self.plan(benchmark)
            if plans is not None:
                plans[benchmark.name] = plan
            generation = Generation(
                engine=engine,
                encoder=encoder,
                device=device,
                sampling=self.sampling,
                batch_rows=self.batch_rows,
                make_prompt=lambda row, benchmark=benchmark: self.prompt(benchmark, row),
                seed=self.seed,
                max_unusable_frac=self.max_unusable_frac,
                keep_images=plans is not None,
            )
            with progress_bar(benchmark.name, plan.num_rows) as advance:
                outcome = BenchmarkRun(
                    plan=plan, generation=generation, scoring=self.scoring, folder=folder
                ).run(advance)
            guessed = chance(benchmark, plan.groups, self.scoring.protocol)
            entries[benchmark.name] = entry(
                benchmark,
                outcome.numbers | {"chance": guessed},
                scoring=self.scoring,
                rows_from=self.rows_name,
                limit=self.limit,
                available=plan.available,
                unusable=len(outcome.unusable),
            )
        return entries

    def prompt(self, benchmark: Benchmark, row: Row) -> Prompt:
        """Return the prompt of a row."""
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
    """Instantiate a mapping with `_target_`; return anything else unchanged.

    Raises:
        ValueError: If instantiation fails; the message names the key.
    """
    if not (isinstance(part, Mapping) and "_target_" in part):
        return part
    try:
        return instantiate(part, _convert_="all")
    except Exception as error:
        raise ValueError(f"{key}: {error.__cause__ or error}") from error


def model_settings(model: Checkpoint) -> dict[str, Any]:
    """Return the settings of the model, besides its weights, that completions depend on."""
    path = str(Path(model.path).resolve()) if Path(model.path).exists() else model.path
    return {
        "model.path": path,
        "model.dtype": model.compute_dtype,
        "model.min_pixels": model.min_pixels,
        "model.max_pixels": model.max_pixels,
    }


def _target(rows: Any) -> str:
    return str(rows["_target_"]) if isinstance(rows, Mapping) else type(rows).__name__


def weights_digest(parameters: Iterable[tuple[str, Tensor]]) -> str:
    """Return twelve hex digits that identify the weights.

    They are a hash of a few exact values of every tensor, the same on any device. All ranks must
    call this together if the weights are sharded.
    """
    digest = hashlib.sha256()
    for name, values in parameters:
        flat = full_tensor(values.detach()).reshape(-1)
        digest.update(f"{name} {tuple(values.shape)}".encode())
        if len(flat):
            few = flat[:: math.ceil(len(flat) / SAMPLED_VALUES)]
            digest.update(few.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
