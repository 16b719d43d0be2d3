"""The page over a sweep, as one string."""

import math
from urllib.parse import quote

from g2rpo.paths import IN_CHECKOUT, SWEEPS, command
from g2rpo.report.plots import task_palette
from g2rpo.report.render import Cell, duration_text, render, score_text
from g2rpo.report.sweep.accuracy_curves import curve_figures, shown_variants
from g2rpo.report.sweep.paper_ablation import paper_numbers, paper_table, paper_tasks
from g2rpo.report.sweep.statistics import spread
from g2rpo.report.sweep.sweep_data import JobResult, SweepResult
from g2rpo.report.sweep.variant_scores import (
    benchmark_table,
    best_variant,
    gain_figures,
    reference,
    score_table,
    variant_name,
)
from g2rpo.tasks import in_order


def page(sweep: SweepResult) -> str:
    """Return the report of one sweep."""
    return render(
        "sweep.html.j2",
        title=f"{sweep.name} - g2rpo sweep",
        palette=task_palette(in_order({*sweep.tasks, *paper_tasks()}, sweep.tasks)),
        sweep=sweep,
        tiles=_tiles(sweep),
        warnings=_warnings(sweep),
        against=variant_name(reference(sweep)) if sweep.jobs else "-",
        scores=score_table(sweep),
        benchmarks=benchmark_table(sweep),
        gains=gain_figures(sweep),
        paper=paper_table(sweep),
        paper_source=paper_numbers(),
        curves=curve_figures(sweep),
        left_out=len(sweep.variants) - len(shown_variants(sweep)),
        best=_best(sweep),
        jobs=[_job_row(job) for job in sweep.jobs],
    )


def _tiles(sweep: SweepResult) -> list[tuple[str, str, str]]:
    best = best_variant(sweep)
    score = (
        spread([job.scores["macro"] for job in sweep.variants[best] if "macro" in job.scores])
        if best is not None
        else None
    )
    won = (
        f"{variant_name(best)}, mean of {score.n} {'seed' if score.n == 1 else 'seeds'}"
        if score and best is not None
        else "none yet"
    )
    hours = math.fsum(job.device_hours for job in sweep.finished)
    return [
        ("Jobs finished", f"{len(sweep.finished)} of {len(sweep.jobs)}", _counts(sweep)),
        ("Best held-out score", score_text(score.mean) if score else "-", won),
        (
            "Time",
            duration_text(math.fsum(job.seconds for job in sweep.finished)),
            "sum over finished jobs",
        ),
        (
            "Cost",
            f"{hours:.2f} h" if math.isfinite(hours) else "not known",
            "device hours of finished jobs",
        ),
    ]


def _counts(sweep: SweepResult) -> str:
    states = [job.state for job in sweep.jobs]
    return (
        ", ".join(
            f"{states.count(state)} {state}"
            for state in ("running", "failed", "stopped", "waiting")
            if state in states
        )
        or "all"
    )


def _warnings(sweep: SweepResult) -> list[str]:
    """Return what is missing and why."""
    open_jobs = [job for job in sweep.jobs if job.state not in ("finished", "waiting")]
    lines = [f"{job.name}: {job.state}" + (f" ({job.why})" if job.why else "") for job in open_jobs]
    waiting = [job.name for job in sweep.jobs if job.state == "waiting"]
    return lines + ([f"not begun: {', '.join(waiting)}"] if waiting else [])


def _best(sweep: SweepResult) -> tuple[str, str, str] | None:
    """Return the best variant, the job of its best seed, and the command that trains it again."""
    best = best_variant(sweep)
    if best is None:
        return None
    top = max(
        (job for job in sweep.variants[best] if "macro" in job.scores),
        key=lambda job: job.scores["macro"],
    )
    sweeps = "sweeps" if IN_CHECKOUT else SWEEPS
    words = (
        f"--config-dir {sweeps} +{word}" if word.startswith("row=") else word
        for word in top.planned.overrides
    )
    return variant_name(best), top.name, " ".join([command("train"), *words])


def _job_row(job: JobResult) -> list[Cell]:
    report = (job.folder / "report.html").exists()
    return [
        {"text": job.name, "href": f"./{quote(job.name)}/report.html"} if report else job.name,
        {"text": job.state, "kind": job.state},
        str((job.summary or {}).get("steps", "-")),
        *(
            score_text(scores.get("macro", math.nan))
            for scores in (job.before, job.scores, job.greedy)
        ),
        duration_text(job.seconds),
        f"{job.device_hours:.3f}" if math.isfinite(job.device_hours) else "-",
        job.planned.hash,
    ]
