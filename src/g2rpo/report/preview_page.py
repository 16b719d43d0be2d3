"""The page of a preview: what was looked at and what is wrong, a table of tasks, and a card for each prompt."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from g2rpo.records import TASKS
from g2rpo.report.document import document
from g2rpo.report.examine import Examined, Shown
from g2rpo.report.markup import section, table, task_name
from g2rpo.report.palette import GRID, INK, MUTED
from g2rpo.report.preview_card import card
from g2rpo.report.settings import Settings

CHOICES = ("model", "data", "task_mix")
QUANTILES = (0.0, 0.5, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """All that a preview found."""

    name: str
    prompts: tuple[Examined, ...]
    """Task by task, in the order of training."""
    per_task: int
    seed: int
    sizes: Mapping[str, tuple[int | None, int | None]]
    """Prompts of the source for training and held out, by task; None is endless."""
    skipped: Mapping[str, int]
    """Records that the source left out, by task."""
    skipped_records: Sequence[str]
    """Why, for as many as the source remembers."""
    settings: Settings
    max_prompt_tokens: int | None

    @property
    def flagged(self) -> tuple[Examined, ...]:
        """Those with a problem."""
        return tuple(found for found in self.prompts if found.problems)

    @property
    def too_long(self) -> tuple[Examined, ...]:
        """Those that are longer than training takes."""
        return tuple(found for found in self.prompts if found.too_long)

    def of(self, task: str) -> tuple[Examined, ...]:
        """Those of a task."""
        return tuple(found for found in self.prompts if found.prompt.task == task)


def preview_page(seen: Seen) -> str:
    """The whole page as one string: no script, no network, nothing beside it."""
    anchors = {id(found): f"p{number}" for number, found in enumerate(seen.prompts, 1)}
    body = _head(seen) + _table(seen) + _flagged(seen, anchors) + _skipped(seen) + _cards(seen, anchors)
    return document(f"{seen.name} - g2rpo preview", body, STYLE)


def _head(seen: Seen) -> str:
    choices = "".join(
        f"<li>{group} <b>{escape(seen.settings.choices[group])}</b></li>" for group in CHOICES if group in seen.settings.choices
    )
    command = escape(" ".join(("python train.py", *seen.settings.overrides)))
    lengths = [found.tokens for found in seen.prompts if found.tokens is not None]
    limit = "no limit is set" if seen.max_prompt_tokens is None else f"{len(seen.too_long)} over max_prompt_tokens={seen.max_prompt_tokens}"
    tiles = (
        ("Prompts shown", str(len(seen.prompts)), f"the first {seen.per_task} of each task at most"),
        (
            "Flagged",
            f'<span class="{"bad" if seen.flagged else "good"}">{len(seen.flagged)}</span>',
            "images, gold answer, reward",
        ),
        ("Longest prompt", f"{max(lengths)} tokens" if lengths else "-", limit),
        ("Records skipped", str(sum(seen.skipped.values())), "by the source, listed below" if seen.skipped else "by the source"),
    )
    drawn = "".join(
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div><div class="remark">{escape(remark)}</div></div>'
        for name, value, remark in tiles
    )
    order = (
        f"The first {seen.per_task} prompts of each task in the order of training, which follows from seed={seen.seed}: what training "
        "would see first. Nothing was trained and no weights were read; texts, tokens and image sizes come from the model's own encoder."
    )
    return (
        f'<header><h1>{escape(seen.name)} <span class="state">preview of the data</span></h1><ul class="choices">{choices}</ul>'
        f'<p class="command"><code>{command}</code></p><p class="caption">{escape(order)}</p><div class="tiles even">{drawn}</div></header>'
    )


def _table(seen: Seen) -> str:
    header = ("task", "train", "held out", "shown", "answer types", "flagged", "too long", "tokens", "of images", "images (px)")
    rows = [_task_row(seen, task) for task in TASKS if task in seen.sizes]
    return section(
        anchor="tasks",
        title="Tasks",
        caption="Train and held out: prompts of the source. All other columns: the prompts shown. Tokens: of the whole prompt, smallest / "
        "median / 90% / largest; of images: their share of all tokens. Images: width x height as stored, smallest to largest, and the "
        "largest that the model sees. A prompt that is too long is never cut.",
        body='<div class="tasks">' + table(header, rows) + "</div>",
    )


def _task_row(seen: Seen, task: str) -> list[str]:
    own = seen.of(task)
    flagged, long = sum(bool(found.problems) for found in own), sum(bool(found.too_long) for found in own)
    types = Counter(found.prompt.answer_type for found in own)
    lengths = sorted(found.tokens for found in own if found.tokens is not None)
    share = sum(found.image_tokens for found in own) / sum(lengths) if lengths else math.nan
    return [
        f'<a href="#{task}">{task_name(task)}</a>',
        *("endless" if size is None else str(size) for size in seen.sizes[task]),
        str(len(own)),
        "<br>".join(f"{escape(kind)} {count}" for kind, count in types.most_common()),
        f'<span class="bad">{flagged}</span>' if flagged else "0",
        str(long) if seen.max_prompt_tokens is not None else "-",
        " / ".join(str(quantile(lengths, level)) for level in QUANTILES) if lengths else "-",
        f"{share:.0%}" if lengths else "-",
        _image_sizes([image for found in own for image in found.images]),
    ]


def quantile(ordered: Sequence[int], level: float) -> int:
    """The smallest value that at least this share of the values does not exceed.

    >>> [quantile([3, 5, 9, 40], level) for level in (0.0, 0.5, 0.9, 1.0)]
    [3, 5, 40, 40]
    """
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)]


def _image_sizes(images: Sequence[Shown]) -> str:
    stored = sorted({image.size for image in images if not image.problem}, key=math.prod)
    read = [image.read_size for image in images if image.read_size is not None]
    if not stored:
        return "-"
    span = " to ".join(_by(size) for size in dict.fromkeys((stored[0], stored[-1])))
    return f"{span} &rarr; {_by(max(read, key=math.prod))}" if read else span


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _flagged(seen: Seen, anchors: Mapping[int, str]) -> str:
    flagged = [_linked(found, anchors, found.problems) for found in seen.flagged]
    long = [_linked(found, anchors, (found.too_long,)) for found in seen.too_long]
    parts = f'<ul class="list">{"".join(flagged)}</ul>' if flagged else '<p class="empty">None of the prompts shown.</p>'
    if long:
        parts += f'<h3>Too long for training</h3><ul class="list">{"".join(long)}</ul>'
    return section(
        anchor="flagged",
        title="Flagged prompts",
        caption="A prompt is flagged if an image cannot be read, if the reward does not accept its gold answer (as it is, and as the "
        "prompt asks for it) or pays a wrong answer like it, which training refuses, or if its "
        "coordinates do not fit the grid. A prompt whose images cannot be read "
        "ends training with data.on_error=raise; with skip, the next one of its task takes its place. A prompt that is too long is never "
        "cut: the next one takes its place, and summary.json counts it.",
        body=parts,
    )


def _linked(found: Examined, anchors: Mapping[int, str], words: Sequence[str]) -> str:
    link = f'<a href="#{anchors[id(found)]}">{escape(found.place)}</a>'
    return f"<li>{link} <span>{escape(found.prompt.task)}, {escape(found.prompt.answer_type)}</span><br>{escape('; '.join(words))}</li>"


def _skipped(seen: Seen) -> str:
    if not seen.skipped:
        return ""
    counts = ", ".join(f"{escape(task)} {count}" for task, count in sorted(seen.skipped.items()))
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in seen.skipped_records)
    left = sum(seen.skipped.values()) - len(seen.skipped_records)
    more = f"<li>and {left} more, not listed</li>" if left > 0 else ""
    return section(
        anchor="skipped",
        title="Records the source skipped",
        caption="Found unusable when the files were read, so that they are neither trained nor asked.",
        body=f'<p>{counts}</p><ul class="list">{reasons}{more}</ul>',
    )


def _cards(seen: Seen, anchors: Mapping[int, str]) -> str:
    parts = []
    for task in TASKS:
        own = seen.of(task)
        if own:
            cards = "".join(card(found, anchors[id(found)]) for found in own)
            parts.append(f'<h3 id="{task}">{task_name(task)}</h3><div class="cards">{cards}</div>')
    return section(
        anchor="prompts",
        title="Prompts",
        caption="Coordinates of gold answers are drawn on a grid from 0 to 1000 over the image, whatever its size: x to the right, y down "
        "from the upper left corner, a box as [left, upper, right, lower]. The reward judges the gold answer as it is, in the form "
        "that the prompt asks for, and wrong answers, each behind some thinking in the tags that the prompt "
        "names. The text is what the model reads; the placeholder of an image "
        "stands once, with its number of tokens.",
        body="".join(parts),
    )


STYLE = f"""
.tiles.even {{ grid-template-columns: repeat(4, 1fr); }}
.bad {{ color: #b3121d; font-weight: 600; }}
.good {{ color: #00694a; }}
a {{ color: #0060a8; text-decoration: none; }}
.tasks td {{ vertical-align: top; }}
.list {{ margin: 0; padding-left: 18px; overflow-wrap: anywhere; }}
.list li {{ margin-bottom: 6px; }}
.list span {{ color: {MUTED}; }}
.cards {{ display: grid; gap: 18px; }}
.cards .card {{ display: flex; gap: 22px; padding: 14px 16px; height: auto; scroll-margin-top: 12px; }}
.cards .card.flagged {{ border: 1px solid #d9534f; border-left-width: 5px; }}
.views {{ flex: 0 0 340px; display: grid; gap: 10px; align-content: start; }}
.views.many {{ grid-template-columns: 1fr 1fr; }}
.views .image {{ width: fit-content; max-width: 100%; }}
.views .image img {{ display: block; width: auto; max-width: 100%; }}
.views .image img.pixels {{ width: 192px; }}
.views .remark {{ font-size: 12.5px; overflow-wrap: anywhere; }}
.facts-of {{ flex: 1; min-width: 0; }}
.facts-of .where {{ overflow-wrap: anywhere; }}
.facts-of .where b {{ font-size: 15px; }}
.flags {{ margin: 8px 0 0; padding: 6px 10px 6px 26px; background: #fdeceb; color: #9c0f19; border-radius: 4px; overflow-wrap: anywhere; }}
.long {{ margin: 8px 0 0; padding: 6px 10px; background: #fbf3d9; color: #6b5200; border-radius: 4px; }}
.facts-of .gold {{ margin: 10px 0 6px; max-height: 160px; overflow-y: auto; }}
.judged {{ width: auto; min-width: 460px; }}
.judged th, .judged td {{ padding: 2px 10px; }}
.judged .bad {{ background: #fdeceb; }}
.facts-of pre {{ color: {INK}; max-height: 360px; border: 1px solid {GRID}; }}
.facts-of .said {{ margin: 10px 0 0; color: {MUTED}; }}
.placeholder {{ background: #e3edf7; border-radius: 3px; padding: 0 4px; }}
svg.boxes path.dot {{ stroke-linecap: round; }}
"""
