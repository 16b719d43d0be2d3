"""The part of a completion that the released scorers get."""

from g2rpo.scoring.extract import clean, without_thinking


def spoken(completion: str) -> str:
    """Return the answer of a completion that thinks.

    A completion without thinking is returned whole, because the releases do not look into tags.

    >>> spoken("<thinking>no?</thinking><answer>yes</answer>"), spoken("<answer>yes</answer>")
    ('yes', '<answer>yes</answer>')
    """
    return completion if without_thinking(completion) == completion else clean(completion)
