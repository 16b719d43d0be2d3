"""What a released scorer is given of a completion."""

from g2rpo.scoring.prediction import clean, without_thinking


def spoken(completion: str) -> str:
    """The answer of a completion that thinks. One that does not is taken whole, tags included: the
    releases do not look into tags.

    >>> spoken("<thinking>no?</thinking><answer>yes</answer>"), spoken("<answer>yes</answer>")
    ('yes', '<answer>yes</answer>')
    """
    return completion if without_thinking(completion) == completion else clean(completion)
