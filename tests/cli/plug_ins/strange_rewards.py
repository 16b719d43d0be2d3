"""Rewards for tests of whole runs. Worker processes import this file, so it imports no torch."""

from g2rpo.prompt import Prompt


class Refusing:
    """A reward that fails for every completion."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        raise ZeroDivisionError("no verdict")


class LengthPays:
    """Accuracy grows with the length of the text, so that rewards of a random model differ."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        accuracy = min(1.0, len(completion) / 40)
        return {"accuracy": accuracy, "format": 1.0, "structure": 0.0, "total": accuracy}
