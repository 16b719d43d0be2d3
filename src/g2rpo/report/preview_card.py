"""One prompt of a preview: its images with what the gold answer points at, the verdicts, and the text the model reads."""

from collections.abc import Mapping
from html import escape

from g2rpo.model.encoder import IMAGE_TOKEN
from g2rpo.report.examine import NEARLY, SCORES, Examined, Marks, Shown, Trial, complaint
from g2rpo.report.gallery import shorten_middle
from g2rpo.report.picture import overlay

SMALL_PX = 192
"""Narrower images are shown enlarged, pixel by pixel."""
DOTS = {"inside": "#00a06b", "outside": "#d1242f"}


def card(found: Examined, anchor: str) -> str:
    """A card that `anchor` links to."""
    prompt = found.prompt
    facts = [prompt.task, prompt.answer_type, *([prompt.source] if prompt.source else [])]
    flags = "".join(f"<li>{escape(problem)}</li>" for problem in found.problems)
    return (
        f'<article id="{anchor}" class="card{" flagged" if flags else ""}">{_views(found)}<div class="facts-of">'
        f'<div class="where"><b>{escape(prompt.id)}</b> <span class="facts">{" &middot; ".join(map(escape, facts))}</span>'
        f'<div class="facts">{escape(_file_and_line(found))}</div></div>'
        + (f'<ul class="flags">{flags}</ul>' if flags else "")
        + (f'<p class="long">too long for training: {escape(found.too_long)}</p>' if found.too_long else "")
        + f'<p class="gold">gold answer <code>{escape(shorten_middle(found.gold))}</code></p>{_verdicts(found.trials)}'
        f'<p class="said">{_lengths(found)}</p><pre>{chat_html(found)}</pre></div></article>'
    )


def _file_and_line(found: Examined) -> str:
    meta = found.prompt.meta
    return f"{meta['file']}, line {meta['line']}" if "file" in meta else ""


def _views(found: Examined) -> str:
    if not found.images:
        return '<div class="views empty">no image</div>'
    alone = len(found.images) == 1
    views = "".join(_view(image, found.marks if alone else Marks(box=None)) for image in found.images)
    unclear = not alone and found.marks.numbers()
    remark = '<div class="remark">not drawn: the answer does not say which image its coordinates belong to</div>' if unclear else ""
    return f'<div class="views{"" if alone else " many"}">{views}{remark}</div>'


def _view(image: Shown, marks: Marks) -> str:
    if image.problem:
        return f'<div class="bad">{escape(image.problem)}</div>'
    width, height = image.size
    pixels = ' class="pixels"' if width < SMALL_PX else ""
    drawn = (overlay({"gold": marks.box}) if marks.box else "") + dots(marks)
    read = f"model sees {image.read_size[0]} x {image.read_size[1]}, {image.tokens} tokens" if image.read_size else "not encoded"
    return (
        f'<div><div class="image"><img{pixels} alt="" src="{image.uri}">{drawn}</div>'
        f'<div class="remark">{width} x {height} px &middot; {read}{_in_pixels(image, marks)}</div></div>'
    )


def _in_pixels(image: Shown, marks: Marks) -> str:
    """Where the gold answer is in the stored image, to be compared with what an annotation tool says."""
    (width, height), words = image.size, ""
    if marks.box:
        x0, y0, x1, y1 = marks.box
        corners = (x0 * width / 1000, y0 * height / 1000, x1 * width / 1000, y1 * height / 1000)
        words += f"<br>&#9633; gold box in pixels: {', '.join(f'{value:.0f}' for value in corners)}"
    for name, points in (("inside", marks.inside), ("outside", marks.outside)):
        words += f'<br><span style="color:{DOTS[name]}">&#9679;</span> {len(points)} points {name}' if points else ""
    return words


def dots(marks: Marks) -> str:
    """The points of a segmentation answer over an image of any size."""
    points = [(name, point) for name, own in (("inside", marks.inside), ("outside", marks.outside)) for point in own]
    if not points:
        return ""
    drawn = "".join(
        f'<path class="dot" d="M{x:g} {y:g}h0" stroke="#fff" stroke-width="13"/>'
        f'<path class="dot {name}" d="M{x:g} {y:g}h0" stroke="{DOTS[name]}" stroke-width="9"/>'
        for name, (x, y) in points
    )
    return f'<svg class="boxes" viewBox="0 0 1000 1000" preserveAspectRatio="none">{drawn}</svg>'


def _verdicts(trials: tuple[Trial, ...]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("answer", *SCORES))
    rows = "".join(
        f"<tr><td>{trial.name} <code>{escape(shorten_middle(trial.answer))}</code></td>{_scores(trial)}</tr>" for trial in trials
    )
    return f'<table class="judged"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _scores(trial: Trial) -> str:
    if trial.problem:
        return f'<td class="bad" colspan="{len(SCORES)}">not judged</td>'
    wrong = bool(complaint(trial))
    return "".join(f"<td{_red(wrong and part == 'accuracy')}>{_number(trial.scores, part)}</td>" for part in SCORES)


def _red(wrong: bool) -> str:
    return ' class="bad"' if wrong else ""


def _number(scores: Mapping[str, float], part: str) -> str:
    value = scores.get(part)
    return "-" if value is None else "0" if abs(value) < NEARLY else f"{value:.3f}".rstrip("0").removesuffix(".")


def _lengths(found: Examined) -> str:
    if found.tokens is None:
        return "Not encoded. The model would read:"
    return f"{found.tokens} tokens: {found.tokens - found.image_tokens} of text and marks, {found.image_tokens} of images. The model reads:"


def chat_html(found: Examined) -> str:
    """The text the model reads; each image's placeholder with the number of times it stands there."""
    pieces = shorten_middle(found.chat).split(IMAGE_TOKEN)
    counts = [image.tokens for image in found.images]
    whole = len(pieces) == len(counts) + 1  # not where the text itself contains the placeholder, or was cut
    shown = [escape(pieces[0])]
    for number, piece in enumerate(pieces[1:]):
        repeat = f" &times; {counts[number]}" if whole and counts[number] is not None else ""
        shown.append(f'<span class="placeholder">{escape(IMAGE_TOKEN)}{repeat}</span>{escape(piece)}')
    return "".join(shown)
