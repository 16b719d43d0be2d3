"""The reward of the hard gym: eight tasks with rewards of different shapes (`data=hard_gym`).

    needle, fair, noisy, north   1 for the right symbols, else 0
    south                        0.1 for the right digit, else 0
    shades                       0.8 + 0.2 (1 - distance / 99), and the verifier's jitter
    chain                        right steps up to the first error / 5
    brief                        0.8 ^ further words for the right first digit, else 0

On `noisy` the verifier errs: it adds a large number to a few totals, right or wrong. Its size has a
Pareto distribution, so its largest values are many times its mean. As errors are independent of
what is right, the right answer stays the best one in expectation.

Accuracy, which validation reports, is in [0, 1] without jitter and errors.
"""

import hashlib
from collections.abc import Callable

from g2rpo.prompt import LOGGED, Prompt

SYMBOLS = frozenset("0123456789ABCDEFGHIJ")
"""Words of an answer; all others are left out, and cost the reward for the format."""
NEAR = 25
"""Distance from the right number of `shades` at which accuracy falls to 0."""
WORD_COST = 0.2


class HardGymReward:
    """Scores answers to `data=hard_gym`.

    Args:
        error_share: Share of completions of `noisy` with an error, in [0, 1]. Prompt and completion
            alone decide which, so they are the same in every process and run.
        error_scale: Smallest error.
        error_tail: Exponent of the Pareto distribution of errors, above 0; up to 2 the variance is
            infinite.
        error_most: Largest error.
        jitter: Largest error of `shades`, in both directions, uniform.
        format_weight: Reward for an answer of symbols alone, in every task.
    """

    def __init__(
        self,
        *,
        error_share: float = 0.1,
        error_scale: float = 3.0,
        error_tail: float = 1.2,
        error_most: float = 100.0,
        jitter: float = 0.005,
        format_weight: float = 0.05,
    ) -> None:
        if not 0 <= error_share <= 1:
            raise ValueError(f"reward.error_share: expected a share in [0, 1], got {error_share}")
        if not 0 < error_scale <= error_most < float("inf"):
            raise ValueError(
                "reward.error_scale: expected a finite number above 0 and at most"
                f" reward.error_most={error_most}, got {error_scale}"
            )
        if not 0 < error_tail < float("inf"):
            raise ValueError(f"reward.error_tail: expected a number above 0, got {error_tail}")
        for name, value in {"jitter": jitter, "format_weight": format_weight}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"reward.{name}: expected 0 or more, got {value}")
        self.error_share, self.error_scale = error_share, error_scale
        self.error_tail, self.error_most = error_tail, error_most
        self.jitter = jitter
        self.format_weight = format_weight

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        """Return the parts `answer` and `format`, their sum `total`, and the accuracy.

        Raises:
            ValueError: The prompt is not one of the hard gym.
        """
        if prompt.answer_type not in JUDGES:
            raise ValueError(
                f"prompt {prompt.id!r}: expected an answer type out of {', '.join(JUDGES)}, got"
                f" {prompt.answer_type!r}; reward=hard_gym is for data=hard_gym"
            )
        words = completion.split()
        symbols = [word for word in words if word in SYMBOLS]
        reward, accuracy = JUDGES[prompt.answer_type](symbols, prompt.answer.split(), len(words))
        answer = reward + self._error(completion, prompt)
        form = self.format_weight * float(bool(words) and len(symbols) == len(words))
        return {
            "answer": answer,
            "format": form,
            "total": answer + form,
            f"{LOGGED}accuracy": accuracy,
        }

    def _error(self, completion: str, prompt: Prompt) -> float:
        """Return what the verifier adds by mistake."""
        if prompt.answer_type not in ("noisy", "shades"):
            return 0.0
        digest = hashlib.sha256(f"{prompt.id}\0{completion}".encode()).digest()
        whether, size = (int.from_bytes(part) / 2**64 for part in (digest[:8], digest[8:16]))
        if prompt.answer_type == "shades":
            return self.jitter * (2 * size - 1)
        if whether >= self.error_share:
            return 0.0
        drawn: float = self.error_scale * (1 - size) ** (-1 / self.error_tail)
        return min(drawn, self.error_most)


Judge = Callable[[list[str], list[str], int], tuple[float, float]]
"""(symbols of the answer, right symbols, words of the answer) -> reward and accuracy."""


def _exact(symbols: list[str], gold: list[str], words: int) -> tuple[float, float]:
    return float(symbols == gold), float(symbols == gold)


def _tenth(symbols: list[str], gold: list[str], words: int) -> tuple[float, float]:
    return 0.1 * float(symbols == gold), float(symbols == gold)


def _near(symbols: list[str], gold: list[str], words: int) -> tuple[float, float]:
    if len(symbols) != len(gold) or not "".join(symbols).isdigit():
        return 0.8, 0.0
    distance = abs(int("".join(symbols)) - int("".join(gold)))
    return 0.8 + 0.2 * (1 - distance / 99), max(0.0, 1 - distance / NEAR)


def _steps(symbols: list[str], gold: list[str], words: int) -> tuple[float, float]:
    wrong = (i for i, step in enumerate(gold) if i >= len(symbols) or symbols[i] != step)
    share = next(wrong, len(gold)) / len(gold)
    return share, share


def _first(symbols: list[str], gold: list[str], words: int) -> tuple[float, float]:
    worth = float(symbols[:1] == gold) * (1 - WORD_COST) ** (words - 1)
    return worth, worth


JUDGES: dict[str, Judge] = {
    "needle": _exact,
    "fair": _exact,
    "noisy": _exact,
    "north": _exact,
    "south": _tenth,
    "shades": _near,
    "chain": _steps,
    "brief": _first,
}
