"""The page over a sweep, as one string."""

import math
from html import escape

from g2rpo.report.document import document
from g2rpo.report.markup import duration_text, score_text, section, table
from g2rpo.report.sweep.curves import curve_section
from g2rpo.report.sweep.folder import JobResult, SweepResult
from g2rpo.report.sweep.paper import paper_section
from g2rpo.report.sweep.scores import best_variant, score_section, variant_name
from g2rpo.report.sweep.statistics import spread

SWEEP_STYLE = """
.tiles { grid-template-columns: 1fr 3fr 1.4fr 1.4fr; }
.tile .value { white-space: normal; overflow-wrap: anywhere; }
.wide { overflow-x: auto; font-size: 13px; }
.wide th, .wide td { padding: 4px 5px; }
.wide .chip { margin-right: 4px; }
figure.gain { margin-top: 24px; }
.pm { color: #5b6672; font-size: 11.5px; }
td.words { white-space: normal; }
.state-failed, .state-stopped { color: #a33b00; font-weight: 600; }
.state-running { color: #0060a8; }
.state-waiting { color: #5b6672; }
"""


def page(sweep: SweepResult) -> str:
    """The report of one sweep."""
    parts = (header, score_section, paper_section, curve_section, best_section, job_section)
    return document(f"{sweep.name} - g2rpo sweep", "".join(part(sweep) for part in parts), SWEEP_STYLE)


def header(sweep: SweepResult) -> str:
    """Name, headline numbers, and what is still missing."""
    done, total = len(sweep.finished), len(sweep.jobs)
    best = best_variant(sweep)
    score = spread([job.scores["macro"] for job in sweep.variants[best] if "macro" in job.scores]) if best is not None else None
    tiles = [
        _tile("Jobs finished", f"{done} of {total}", _counts(sweep)),
        _tile(
            "Best held-out score", f"{score_text(score.mean)}" if score else "-",
            f"{variant_name(best)}, mean of {score.n} {'seed' if score.n == 1 else 'seeds'}" if score and best is not None else "none yet",
        ),
        _tile("Time", duration_text(math.fsum(job.seconds for job in sweep.finished)), "sum over finished jobs"),
        _tile("Cost", _hours(math.fsum(job.device_hours for job in sweep.finished)), "device hours of finished jobs"),
    ]  # fmt: skip
    state = "finished" if done == total else "not finished"
    return (
        f'<header><h1>{escape(sweep.name)} <span class="state">{state}</span></h1>'
        f'<p class="command"><code>{escape(sweep.command)}</code></p><div class="tiles">{"".join(tiles)}</div>{_notes(sweep)}</header>'
    )


def _tile(name: str, value: str, remark: str) -> str:
    inner = f'<div class="name">{escape(name)}</div><div class="value">{escape(value)}</div><div class="remark">{escape(remark)}</div>'
    return f'<div class="tile">{inner}</div>'


def _counts(sweep: SweepResult) -> str:
    states = [job.state for job in sweep.jobs]
    return ", ".join(f"{states.count(state)} {state}" for state in ("running", "failed", "stopped", "waiting") if state in states) or "all"


def _hours(hours: float) -> str:
    return f"{hours:.2f} h" if math.isfinite(hours) else "not known"


def _notes(sweep: SweepResult) -> str:
    """Jobs without a result, by name."""
    lines = [
        f"{job.name}: {job.state}{f' ({job.why})' if job.why else ''}" for job in sweep.jobs if job.state not in ("finished", "waiting")
    ]
    waiting = [job.name for job in sweep.jobs if job.state == "waiting"]
    lines += [f"not begun: {', '.join(waiting)}"] if waiting else []
    return f'<div class="notes"><ul>{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul></div>' if lines else ""


def best_section(sweep: SweepResult) -> str:
    """The command that trains the best variant again."""
    best = best_variant(sweep)
    if best is None:
        return ""
    jobs = [job for job in sweep.variants[best] if "macro" in job.scores]
    top = max(jobs, key=lambda job: job.scores["macro"])
    command = " ".join(["python train.py", *(f"--config-dir sweeps +{w}" if w.startswith("row=") else w for w in top.planned.overrides)])
    return section(
        anchor="best",
        title="Best configuration",
        caption="The variant with the highest mean held-out score, and the job of its best seed. Chosen after the fact: of many variants "
        "that differ by noise alone, one is always best.",
        body=f"<p><b>{escape(variant_name(best))}</b>, {escape(top.name)}</p><pre>{escape(command)}</pre>",
    )


def job_section(sweep: SweepResult) -> str:
    """Every job with its state, score, time and cost."""
    columns = ["job", "state", "steps", "before", "after", "greedy", "time", "device hours", "configuration"]
    return section(
        anchor="jobs",
        title="Jobs",
        caption="Held-out score in [0, 1], mean over tasks. Time: sum of the stages of the run. Device hours: time times devices. "
        "Configuration: hash of the settings.",
        body=f'<div class="wide">{table(columns, [_job_row(job) for job in sweep.jobs])}</div>',
    )


def _job_row(job: JobResult) -> list[str]:
    name = escape(job.name)
    return [
        f'<a href="{escape(job.name, quote=True)}/report.html">{name}</a>' if (job.folder / "report.html").exists() else name,
        f'<span class="state-{job.state}">{job.state}</span>',
        str((job.summary or {}).get("steps", "-")),
        score_text(job.before.get("macro", math.nan)),
        score_text(job.scores.get("macro", math.nan)),
        score_text(job.greedy.get("macro", math.nan)),
        duration_text(job.seconds) if math.isfinite(job.seconds) else "-",
        f"{job.device_hours:.3f}" if math.isfinite(job.device_hours) else "-",
        f"<code>{escape(job.planned.hash)}</code>",
    ]
