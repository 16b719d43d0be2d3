"""Mutants of `src/g2rpo/reward/judges/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "judge: what the deadline has cut off counts",
        "reward/judges/bounded_http.py",
        "if self.passed:\n            raise TimeoutError",
        "if False:\n            raise TimeoutError",
        "reward/judges/test_openai.py",
    ),
)
