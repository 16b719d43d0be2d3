"""Who worked and who waited: `timeline.csv` as a figure and as text, idle time and staleness."""

import math
from collections.abc import Mapping, Sequence

from g2rpo.report.curves import Part, column_line, reading_help
from g2rpo.report.file_rows import StepSpan
from g2rpo.report.plots import AFTER, BEFORE, COLORS, MUTED, Figure, line_plot, numbers
from g2rpo.report.render import share_text
from g2rpo.report.run_data import Run
from g2rpo.report.smooth import mean

STEPS_SHOWN = 6
"""Number of steps at the end of the run that the timeline shows."""
LANES = ("trainer", "engine", "reward")
WAIT = "wait"
COLOR = {
    "decode": AFTER,
    "update": BEFORE,
    "reward": COLORS[3],
    "sync": COLORS[4],
    "data": COLORS[5],
    "validation": COLORS[6],
    WAIT: "var(--muted, 0.25)",
}
LETTERS = {"decode": "d", "update": "u", "reward": "r", "sync": "s", "data": "p", "validation": "v"}
SHARES = {"trainer": "time/trainer_wait_frac", "engine": "time/engine_idle_frac"}
WIDTH = 72
"""Characters of a lane in the text."""


def last_steps(timeline: Sequence[StepSpan]) -> list[StepSpan]:
    """Return the spans of the last steps."""
    shown = {*sorted({span.step for span in timeline})[-STEPS_SHOWN:]}
    return [span for span in timeline if span.step in shown]


def idle_part(run: Run) -> Part | None:
    """Return the section of the report; None if the run has no timeline.

    Its first figure is as wide as the page.
    """
    spans = last_steps(run.timeline)
    if not spans:
        return None
    small = [*_idle_shares(run), *_sample_size(run), *_staleness(run)]
    caption = (
        "Each bar is a stretch of work; gray: the trainer waits for completions; no bar: nothing"
        f" to do. Dotted: the end of a step. {idle_words(run)}"
        + (f" {reading_help(run)}" if small else "")
    )
    title = "Who worked and who waited"
    return Part(anchor="timeline", title=title, caption=caption, large=[_lanes(spans)], small=small)


def idle_words(run: Run) -> str:
    """Return one sentence with the idle shares of the run."""
    shares = {who: mean(run.column(column)[1]) for who, column in SHARES.items()}
    if not all(math.isfinite(share) for share in shares.values()):
        return "The policy itself generates, so there is no engine that could be idle."
    words = ", ".join(f"{who} {share_text(share)}" for who, share in shares.items())
    return f"Idle, mean of all steps: {words}."


def timeline_text(run: Run) -> str:
    """Return the last steps as one line of letters per lane; empty without a timeline."""
    spans = last_steps(run.timeline)
    if not spans:
        return ""
    start, end = min(s.start_s for s in spans), max(s.end_s for s in spans)
    cell = (end - start) / WIDTH
    steps = sorted({span.step for span in spans})
    used = [letter for what, letter in LETTERS.items() if any(s.what == what for s in spans)]
    names = {letter: what for what, letter in LETTERS.items()}
    legend = ", ".join(f"{letter} {names[letter]}" for letter in used)
    lines = [
        f"steps {steps[0]} to {steps[-1]}, {end - start:.1f} s, a letter is {cell:.2g} s:"
        f" {legend}, . idle"
    ]
    for lane in LANES:
        own = [span for span in spans if span.who == lane]
        if own:
            cells = (_letter(own, start + i * cell, cell) for i in range(WIDTH))
            lines.append(f"  {lane:8}{''.join(cells)}")
    return "\n".join([*lines, idle_words(run)])


def _letter(spans: Sequence[StepSpan], start: float, length: float) -> str:
    """Return what takes most of a cell: a letter of `LETTERS`, `?` for other work, `.` for none."""
    seconds: dict[str, float] = {}
    for span in spans:
        inside = min(span.end_s, start + length) - max(span.start_s, start)
        if inside > 0 and span.what != WAIT:
            seconds[span.what] = seconds.get(span.what, 0.0) + inside
    what = max(seconds, key=seconds.__getitem__, default="")
    busy = sum(seconds.values()) > length / 2
    return LETTERS.get(what, "?") if busy else "."


def _lanes(spans: Sequence[StepSpan]) -> Figure:
    """Draw a lane each for trainer, engine and reward over the seconds of the run."""
    data = []
    for what in sorted({span.what for span in spans}, key=lambda what: [*COLOR, what].index(what)):
        own = [span for span in spans if span.what == what]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": what,
                "base": numbers(span.start_s for span in own),
                "x": numbers(span.end_s - span.start_s for span in own),
                "y": [span.who for span in own],
                "customdata": [span.step for span in own],
                "marker": {"color": COLOR.get(what, COLORS[7]), "line": {"width": 0}},
                "hovertemplate": "%{y}, step %{customdata}: %{x:.2f} s",
            }
        )
    ends = {step: max(s.end_s for s in spans if s.step == step) for step in {s.step for s in spans}}
    lanes = [lane for lane in LANES if any(span.who == lane for span in spans)]
    layout = {
        "barmode": "overlay",
        "bargap": 0.3,
        "hovermode": "closest",
        "height": 150 + 45 * len(lanes),
        "legend": {"orientation": "h", "y": 1, "yanchor": "top", "yref": "container"},
        "margin": {"l": 48, "r": 12, "t": 64, "b": 40},
        "xaxis": {"title": {"text": "seconds since the run began"}},
        "yaxis": {"type": "category", "categoryarray": lanes[::-1], "categoryorder": "array"},
        "shapes": [_step_end(step, end) for step, end in sorted(ends.items())],
    }
    steps = sorted(ends)
    title = f"Steps {steps[0]} to {steps[-1]}" if len(steps) > 1 else f"Step {steps[0]}"
    return Figure(title=title, spec={"data": data, "layout": layout})


def _step_end(step: int, end_s: float) -> dict[str, object]:
    label = {"text": str(step), "textposition": "end", "textangle": 0, "font": {"size": 10}}
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    place = {"x0": end_s, "x1": end_s, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "xref": "x", **place, "line": line, "label": label}


def _idle_shares(run: Run) -> list[Figure]:
    colors = {"trainer": BEFORE, "engine": AFTER}
    lines = [column_line(run, column, who, colors[who]) for who, column in SHARES.items()]
    lines = [line for line in lines if line.values]
    title = "Share of the step spent idle"
    return [line_plot(title, "share", lines, y_range=(-0.02, 1.02))] if lines else []


def _sample_size(run: Run) -> list[Figure]:
    lines = [
        column_line(run, f"rollout/ess_frac/{task}", task, run.palette[task]) for task in run.tasks
    ]
    lines = [line for line in lines if line.values]
    title = "Effective sample size of the importance weights"
    return [line_plot(title, "share", lines, y_range=(-0.02, 1.02))] if lines else []


def _staleness(run: Run) -> list[Figure]:
    """Draw how many completions of each task were how many updates old."""
    counts = {task: run.draws[task].staleness for task in run.tasks if task in run.draws}
    total = sum(sum(own.values()) for own in counts.values())
    if not total:
        return []
    data = [_bars(task, run.palette[task], own, total) for task, own in counts.items() if own]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "updates, of the oldest token"}, "dtick": 1},
        "yaxis": {"title": {"text": "share of completions"}},
    }
    return [Figure(title="Staleness", spec={"data": data, "layout": layout})]


def _bars(name: str, color: str, counts: Mapping[int, int], total: int) -> dict[str, object]:
    ages = sorted(counts)
    shares = numbers(counts[age] / total for age in ages)
    look = {"name": name, "marker": {"color": color}, "hovertemplate": "%{y:.1%}"}
    return {"type": "bar", "x": ages, "y": shares, **look}
