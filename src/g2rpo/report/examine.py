"""Examines one prompt as training would see it: images, tokens, text, and rewards of test answers.

Problems of a prompt are returned as text, so that one broken prompt does not hide the next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image

from g2rpo.data.gold_tries import NEARLY, Try, fault_of, tries_of
from g2rpo.data.loading import Loading, place
from g2rpo.data.rows import BadRecord
from g2rpo.image import open_image
from g2rpo.interfaces import Reward
from g2rpo.policy.encoder import ChatEncoder
from g2rpo.prompt import accuracy_in
from g2rpo.records import Failed, Prompt
from g2rpo.report.inline_picture import data_uri
from g2rpo.reward.workers.outcome import outcome_of
from g2rpo.scoring.boxes import read_points
from g2rpo.scoring.extract import final_answer, finite_numbers, json_object, tidy_tags
from g2rpo.training.kept_pictures import encoded

GRID = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One image. Sizes are (width, height) in pixels."""

    uri: str = ""
    """The image as a data URI, scaled down; empty if it cannot be read."""
    size: tuple[int, int] = (0, 0)
    read_size: tuple[int, int] | None = None
    """Size that the model sees; None if the prompt cannot be encoded."""
    tokens: int | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """The scores of one of the answers that training tries before it starts."""

    prompt: Prompt
    tried: Try
    scores: Mapping[str, float]
    problem: str = ""

    @property
    def name(self) -> str:
        """`gold`, `as asked` or `wrong`."""
        return self.tried.name

    @property
    def answer(self) -> str:
        """The answer that was judged, without tags."""
        return self.tried.answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Box and points of a gold answer, on the grid from 0 to 1000."""

    box: tuple[float, ...] | None
    inside: tuple[tuple[float, ...], ...] = ()
    outside: tuple[tuple[float, ...], ...] = ()

    def numbers(self) -> list[float]:
        """Every coordinate."""
        return [
            *(self.box or ()),
            *(value for point in (*self.inside, *self.outside) for value in point),
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """A prompt with the results of its examination."""

    prompt: Prompt
    place: str
    """File and line, or the id."""
    gold: str
    """The gold answer without tags."""
    images: tuple[Shown, ...]
    chat: str
    """Text that the model reads, with one placeholder per image."""
    placeholder: str
    """The placeholder of an image."""
    tokens: int | None
    """Number of tokens of the whole prompt; None if it cannot be encoded."""
    trials: tuple[Trial, ...]
    marks: Marks
    problems: tuple[str, ...]
    """Why the prompt is flagged."""
    too_long: str = ""

    @property
    def image_tokens(self) -> int:
        """Number of tokens of all images."""
        return sum(image.tokens or 0 for image in self.images)


def examine(prompt: Prompt, *, encoder: ChatEncoder, loading: Loading, reward: Reward) -> Examined:
    """Examine a prompt; problems are returned, not raised."""
    loaded = [_loaded(prompt, image, loading) for image in prompt.images]
    shown = tuple(_shown(image) for image in loaded)
    tokens, encoding = None, ""
    if not any(image.problem for image in shown):
        try:
            tokens, shown = _encoded(replace(prompt, images=tuple(loaded)), shown, encoder)
        except Exception as error:  # noqa: BLE001 - any error is shown on the card of this prompt
            encoding = f"the model's encoder refuses the prompt: {_words(error)}"
    gold = final_answer(tidy_tags(prompt.answer))
    trials = tuple(_trial(tried, prompt, reward) for tried in tries_of(prompt))
    marks = marks_of(gold)
    problems = [
        *(image.problem for image in shown),
        encoding,
        *(_complaints(trials) if getattr(reward, "checks_golds", True) else failures(trials)),
        off_grid(marks),
        str(prompt.meta.get("warning", "")),
    ]
    most = loading.max_prompt_tokens
    return Examined(
        prompt=prompt,
        place=place(prompt),
        gold=gold,
        images=shown,
        chat=_chat(prompt, encoder),
        placeholder=encoder.placeholder,
        tokens=tokens,
        trials=trials,
        marks=marks,
        problems=tuple(problem for problem in problems if problem),
        too_long=(
            f"{tokens} tokens are more than data.loading.max_prompt_tokens={most}"
            if tokens and most is not None and tokens > most
            else ""
        ),
    )


def complaint(trial: Trial) -> str:
    """Return what is wrong with a verdict; empty if the reward judges the answer correctly."""
    if trial.problem:
        return f"the reward fails: {trial.problem}"
    accuracy = accuracy_in(trial.scores)
    if trial.tried.right:
        return "" if accuracy >= 1 - NEARLY else f"accuracy {accuracy:g} instead of 1"
    return f"accuracy {accuracy:g} for a wrong answer" if accuracy >= 1 - NEARLY else ""


def failures(trials: Sequence[Trial]) -> list[str]:
    """Return why the first answer that the reward cannot judge is not judged, if there is one."""
    return [f"the reward fails: {trial.problem}" for trial in trials if trial.problem][:1]


def _complaints(trials: Sequence[Trial]) -> list[str]:
    """Return why training would refuse the prompt; empty if it would not."""
    verdicts = [
        (trial.tried, Failed(reason=trial.problem) if trial.problem else trial.scores)
        for trial in trials
    ]
    return [fault_of(trials[0].prompt, verdicts)]


def marks_of(gold: str) -> Marks:
    """Return box and points of a gold answer in JSON.

    >>> marks_of('{"boxes": [1, 2, 30, 40]}').box, marks_of("B").box
    ((1.0, 2.0, 30.0, 40.0), None)
    """
    found = json_object(gold) or {}
    inside, outside = (
        tuple(read_points(found.get(name)) or ()) for name in ("positive_points", "negative_points")
    )
    return Marks(box=finite_numbers(found.get("boxes"), 4), inside=inside, outside=outside)


def off_grid(marks: Marks) -> str:
    """Return what is wrong with the coordinates of a gold answer; empty if they are plausible.

    >>> off_grid(Marks(box=(100.0, 200.0, 500.0, 1750.0)))
    'coordinates of the gold answer lie outside the grid from 0 to 1000: pixels?'
    """
    numbers = marks.numbers()
    if numbers and max(numbers) <= 1:
        return (
            "the coordinates of the gold answer are all at most 1: shares of the image, not units"
            f" of the grid from 0 to {GRID}?"
        )
    if any(not 0 <= value <= GRID for value in numbers):
        return f"coordinates of the gold answer lie outside the grid from 0 to {GRID}: pixels?"
    return ""


def _chat(prompt: Prompt, encoder: ChatEncoder) -> str:
    try:
        return encoder.chat_text(prompt)
    except ValueError:  # reported as the reason why the encoder refuses the prompt
        return prompt.text


def _loaded(prompt: Prompt, image: object, loading: Loading) -> Image.Image | str:
    (found,) = loading.loaded([replace(prompt, images=(image,))], lambda whole: whole)
    if isinstance(found, BadRecord):
        return str(found).removeprefix(f"{place(prompt)}: ")
    opened: Image.Image = found.images[0]
    return opened


def _shown(image: Image.Image | str) -> Shown:
    return (
        Shown(problem=image)
        if isinstance(image, str)
        else Shown(uri=data_uri(*encoded(image)), size=image.size)
    )


def _encoded(
    prompt: Prompt, shown: tuple[Shown, ...], encoder: ChatEncoder
) -> tuple[int, tuple[Shown, ...]]:
    """Return the number of tokens, and the images with the size that the model sees."""
    batch = encoder.encode([prompt])
    read = tuple(
        replace(image, read_size=size, tokens=tokens)
        for image, (size, tokens) in zip(
            shown, encoder.shown([open_image(image) for image in prompt.images]), strict=True
        )
    )
    return int(batch.attention_mask.sum()), read


def _trial(tried: Try, prompt: Prompt, reward: Reward) -> Trial:
    outcome = outcome_of(partial(reward.score, tried.completion, prompt))
    if isinstance(outcome, Failed):
        return Trial(prompt=prompt, tried=tried, scores={}, problem=outcome.reason)
    return Trial(prompt=prompt, tried=tried, scores=outcome)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
