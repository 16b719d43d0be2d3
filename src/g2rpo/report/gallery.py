"""Held-out prompts with what the policy answered before and after training.

A rule picks the prompts, so that the page cannot flatter: of each task the first two, the largest gain and the largest loss.
"""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from g2rpo.report.folder import Completion, HeldoutPrompt, Pair, Run, paired
from g2rpo.report.markup import grid, section, task_name
from g2rpo.report.picture import image_paths, picture
from g2rpo.report.scores import sampled_score

PER_TASK = 4
TEXT_LIMIT = 3000
"""Characters of a completion that are shown; the middle of a longer one is left out, since answers stand at the end."""


def gallery_section(run: Run) -> str:
    """All cards, task by task."""
    parts = []
    for task in run.tasks:
        chosen = choose(candidates(run, task))
        if chosen:
            parts.append(f"<h3>{task_name(task)}</h3>" + grid([card(run.folder, pair, why) for pair, why in chosen], columns=2))
    return section(
        anchor="gallery",
        title="Held-out prompts before and after",
        caption="Of each task's prompts with a kept image: the first two, the largest gain and the largest loss of the sampled score, and "
        "the next ones where that is fewer than four. The completion shown is the greedy one; behind it, the accuracy of each sample.",
        body="".join(parts) or '<p class="empty">No held-out completions yet.</p>',
    )


def candidates(run: Run, task: str) -> list[Pair]:
    """A task's prompts; only those whose images were kept, where any were."""
    own = [pair for pair in paired(run.before, run.after) if _shown(pair).task == task]
    images = run.folder / "heldout" / "images"
    return [pair for pair in own if image_paths(images, _shown(pair).id)] or own


def choose(pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
    """Up to `PER_TASK` pairs of one task, each with the reason for showing it."""
    gains = [gain(pair) for pair in pairs]
    compared = [i for i, change in enumerate(gains) if math.isfinite(change)]
    reasons = {i: f"number {i + 1} of its task" for i in range(min(2, len(pairs)))}
    if compared:
        best, worst = max(compared, key=gains.__getitem__), min(compared, key=gains.__getitem__)
        if gains[best] > 0:
            reasons.setdefault(best, f"largest gain, {gains[best]:+.2f}")
        if gains[worst] < 0:
            reasons.setdefault(worst, f"largest loss, {gains[worst]:+.2f}")
    for i in range(len(pairs)):
        if len(reasons) < PER_TASK:
            reasons.setdefault(i, f"number {i + 1} of its task")
    return [(pairs[i], why) for i, why in reasons.items()]


def gain(pair: Pair) -> float:
    """Change of the sampled score; NaN where a side is missing."""
    before, after = pair
    return sampled_score(after) - sampled_score(before) if before and after else math.nan


def _shown(pair: Pair) -> HeldoutPrompt:
    """The side to take question and answer from."""
    prompt = pair[0] or pair[1]
    if prompt is None:
        raise ValueError("a pair of prompts has at least one side")
    return prompt


def card(folder: Path, pair: Pair, why: str) -> str:
    """One prompt: image, question, gold answer, both completions."""
    prompt, (before, after) = _shown(pair), pair
    answers = {"gold": prompt.answer, "before": before.greedy.text if before else "", "after": after.greedy.text if after else ""}
    question = f'<p class="question">{escape(shorten_middle(prompt.text))}</p>'
    gold = f'<p class="gold">gold answer <code>{escape(shorten_middle(prompt.answer))}</code></p>'
    return (
        f'<article class="card"><div class="why">{escape(prompt.id)} &middot; {escape(prompt.answer_type)} &middot; {escape(why)}</div>'
        f'<div class="prompt">{picture(folder / "heldout" / "images", prompt.id, answers)}'
        f"<div>{question}{gold}{_side('before', before)}{_side('after', after)}</div></div></article>"
    )


def _side(when: str, prompt: HeldoutPrompt | None) -> str:
    if prompt is None:
        return f'<div class="side"><span class="when {when}">{when}</span> <span class="empty">not there yet</span></div>'
    samples = " ".join(_accuracy(sample) for sample in prompt.samples)
    facts = f"{verdict(prompt.greedy)} {prompt.greedy.tokens:.0f} tokens &middot; sampled {samples}"
    others = "".join(f"<li>{verdict(sample)}<pre>{escape(shorten_middle(sample.text))}</pre></li>" for sample in prompt.samples)
    details = f"<details><summary>samples at temperature 1</summary><ul>{others}</ul></details>" if others else ""
    text = escape(shorten_middle(prompt.greedy.text))
    return f'<div class="side"><span class="when {when}">{when}</span> <span class="facts">{facts}</span><pre>{text}</pre>{details}</div>'


def verdict(completion: Completion) -> str:
    """A word for the accuracy, with the number where it is a part, and a remark where the format is broken."""
    accuracy = completion.accuracy
    if not math.isfinite(accuracy):
        word, kind = "not judged", "partly"
    elif accuracy >= 1 - 1e-9:
        word, kind = "right", "right"
    elif accuracy <= 1e-9:
        word, kind = "wrong", "wrong"
    else:
        word, kind = f"partly right {accuracy:.2f}", "partly"
    broken = ' <span class="verdict partly">format broken</span>' if completion.format < 1 else ""
    return f'<span class="verdict {kind}">{word}</span>{broken}'


def _accuracy(completion: Completion) -> str:
    return f"{completion.accuracy:.2f}".removesuffix(".00") if math.isfinite(completion.accuracy) else "-"


def shorten_middle(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text, without its middle where it is longer than `limit`.

    >>> shorten_middle("abcdefghij", 6)
    'abc [... 4 characters left out ...] hij'
    """
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} [... {len(text) - 2 * half} characters left out ...] {text[-half:]}"
