"""The hard gym: eight text tasks whose rewards differ as those of real tasks do.

Estimators of advantages differ where rewards do: in scale, in how rare success is, in outliers. The
visual gym is too even to show that. Here a prompt is a task, a key and nothing else, and an answer
a few digits or letters, so that a policy of 50,000 parameters makes hundreds of steps in a minute.

    needle   binary and rare: one of a hundred codes of two letters is right; four keys share one
    shades   graded and saturated: rewards between 0.8 and 1, nearly all of them near 1
    fair     binary: one of ten digits is right
    noisy    as fair, with a verifier that makes rare, large, heavy-tailed errors
    north    one of two digits is right; the same prompt but for its last word ...
    south    ... asks for the other one, and pays a tenth
    chain    a long answer pays: every right step of a count is worth a fifth
    brief    a long answer hurts: the first digit counts, every further word costs a fifth

`g2rpo.reward.hard_gym` scores the answers.
"""

from collections.abc import Mapping
from random import Random

from g2rpo.prompt import Prompt

TASKS = ("needle", "shades", "fair", "noisy", "north", "south", "chain", "brief")
SPLITS = ("train", "heldout")
KEYS = tuple("abcdefghijklmnop")
LETTERS = "ABCDEFGHIJ"
"""Symbols of `needle`; those of all other tasks are digits."""
NEEDLE_KEYS = 4
"""Keys that share a code of `needle`; with a code for each, no policy found any in 300 steps."""
FILLER = "um"
"""The only word of an answer that is no symbol."""
STEPS = 5
"""Digits of a whole chain."""
SYMBOLS = {"needle": LETTERS, "shades": "0123456789"}
"""Symbols of the tasks whose answers are two of them, drawn at random."""


class HardGymSource:
    """Draws prompts from (seed, split, task, index); both splits ask for the same keys.

    Right answers are the same for every `seed`, which only seeds the order of the keys.

    Args:
        seed: Seeds the order of the keys.
        keys: Number of questions per task, from 1 to 16.
    """

    tasks = TASKS
    check_golds = 0
    """The check before a run puts answers in tags, which these answers do not have."""

    def __init__(self, *, seed: int = 0, keys: int = 8) -> None:
        if not 1 <= keys <= len(KEYS):
            raise ValueError(f"data.keys: expected 1 to {len(KEYS)} questions a task, got {keys}")
        self.seed = seed
        self.keys = KEYS[:keys]

    def size(self, task: str, split: str) -> int | None:
        """Return None (unlimited), or 0 for an unknown task; raises for an unknown split."""
        if split not in SPLITS:
            raise ValueError(f"the hard gym draws {SPLITS}, asked for split={split!r}")
        return None if task in TASKS else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        """Return the `index`-th prompt of a task; held-out prompts go round the keys in turn."""
        if self.size(task, split) == 0:
            raise IndexError(f"the hard gym draws {', '.join(TASKS)}, asked for task={task!r}")
        rng = Random(f"{self.seed}/{task}/{index}")  # noqa: S311
        key = self.keys[index % len(self.keys)] if split == "heldout" else rng.choice(self.keys)
        return Prompt(
            id=f"hard_gym/{split}/{task}/{index}",
            task=task,
            text=question(task, key),
            images=(),
            answer=answer_of(task, key),
            answer_type=task,
            source="hard_gym",
            meta={"key": key},
        )


def question(task: str, key: str) -> str:
    """Return the words of a prompt.

    >>> question("needle", "c"), question("north", "c"), question("south", "c")
    ('needle c', 'compass c north', 'compass c south')
    """
    return f"compass {key} {task}" if task in ("north", "south") else f"{task} {key}"


def answer_of(task: str, key: str) -> str:
    """Return the right answer, a space between any two symbols.

    Opposite answers of `north` and `south` add up to 9.
    """
    if task == "needle":
        key = KEYS[KEYS.index(key) // NEEDLE_KEYS]
    rng = Random(f"answer/{'north' if task == 'south' else task}/{key}")  # noqa: S311
    if task in ("needle", "shades"):
        return " ".join(rng.choices(SYMBOLS[task], k=2))
    digit = rng.randrange(10)
    if task == "chain":
        return " ".join(str((digit + step) % 10) for step in range(STEPS))
    return str(9 - digit if task == "south" else digit)


class HardGymHabits:
    """Writes what the policy does before it is trained: a demonstration drawn at random.

    The cold start makes the policy draw from the same distribution, so the shares here are the
    success rates at the beginning of a run.

    Args:
        fillers: Probability of each further word, after an answer to `brief`.
        goes_on: Probability of each further step of `chain`.
        right_step: Probability that a step of `chain` is right.
        right: Probability of the right digit by task; all others are equally likely. `north` and
            `south` have one of their two digits each half of the time.
    """

    def __init__(
        self,
        *,
        fillers: float = 0.7,
        goes_on: float = 0.75,
        right_step: float = 0.8,
        right: Mapping[str, float] | None = None,
    ) -> None:
        self.fillers = fillers
        self.goes_on = goes_on
        self.right_step = right_step
        self.right = {"fair": 0.1, "noisy": 0.1, "brief": 0.3} | dict(right or {})
        shares = [fillers, goes_on, right_step, *self.right.values()]
        if not all(0 <= share < 1 for share in shares):
            raise ValueError(f"demonstrations: expected shares in [0, 1), got {shares}")

    def demonstrate(self, prompt: Prompt) -> str:
        """Return the completion to imitate; it is the same for the same prompt id."""
        rng = Random(f"habit/{prompt.id}")  # noqa: S311
        gold = prompt.answer.split()
        if prompt.task in ("needle", "shades"):
            return " ".join(rng.choices(SYMBOLS[prompt.task], k=2))
        if prompt.task in ("north", "south"):
            return str(rng.choice([int(gold[0]), 9 - int(gold[0])]))
        if prompt.task == "chain":
            return self._chain(rng, gold)
        wrong = [str(digit) for digit in range(10) if str(digit) != gold[0]]
        words = [gold[0] if rng.random() < self.right[prompt.task] else rng.choice(wrong)]
        while prompt.task == "brief" and len(words) < STEPS and rng.random() < self.fillers:
            words.append(FILLER)
        return " ".join(words)

    def _chain(self, rng: Random, gold: list[str]) -> str:
        words: list[str] = []
        for step in gold:
            words.append(step if rng.random() < self.right_step else str(rng.randrange(10)))
            if rng.random() >= self.goes_on:
                break
        return " ".join(words)
