"""InfographicVQA (validation): 2,801 questions about infographics, by ANLS."""

from g2rpo.benchmark.docvqa import DocVQA


class InfoVQA(DocVQA):
    """Measured like DocVQA; an answer that lists several things must list them in the gold order."""

    name = "infovqa"
    parts = ("answer_type", "operation/reasoning")
