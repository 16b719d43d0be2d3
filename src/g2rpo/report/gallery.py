"""Which held-out prompts are shown, by the rule that also decides whose pictures are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from g2rpo.report.heldout_scores import sampled_score
from g2rpo.report.inline_picture import Mark, Picture, box_marks, boxes_of, pictures
from g2rpo.report.run_data import HeldoutPrompt, Pair, Run, paired
from g2rpo.training.kept_pictures import worth_showing

PER_TASK = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A card: a prompt, why it is shown, its pictures with marks, and its answers on both sides."""

    prompt: HeldoutPrompt
    why: str
    pictures: list[Picture]
    boxes: list[Mark]
    sides: tuple[tuple[str, HeldoutPrompt | None], ...]


def gallery(run: Run) -> list[Shown]:
    """Return the cards of all tasks."""
    pairs = paired(run.before, run.after)
    folder = run.folder / "heldout" / "images"
    return [
        _shown(folder, pair, why)
        for task in run.tasks
        for pair, why in choose([p for p in pairs if _question(p).task == task])
    ]


def choose(pairs: Sequence[Pair]) -> list[tuple[Pair, str]]:
    """Return the chosen prompts of one task with the reasons; scores after training count first."""
    by_id = {_question(pair).id: pair for pair in pairs}
    before = {name: sampled_score(pair[0]) for name, pair in by_id.items() if pair[0] is not None}
    after = {name: sampled_score(pair[1]) for name, pair in by_id.items() if pair[1] is not None}
    return [
        (by_id[name], why) for name, why in worth_showing(after or before, before, PER_TASK).items()
    ]


def _question(pair: Pair) -> HeldoutPrompt:
    prompt = pair[0] or pair[1]
    if prompt is None:
        raise ValueError("a pair of prompts has at least one side")
    return prompt


def _shown(folder: Path, pair: Pair, why: str) -> Shown:
    prompt, (before, after) = _question(pair), pair
    answers = {
        "gold": prompt.answer,
        "before": before.greedy.text if before else "",
        "after": after.greedy.text if after else "",
    }
    return Shown(
        prompt=prompt,
        why=why,
        pictures=(found := pictures(folder, prompt.id)),
        boxes=box_marks(boxes_of(answers)) if len(found) == 1 else [],
        sides=(("before", before), ("after", after)),
    )
