"""Mutants of `src/g2rpo/reward/judges/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "judge: the deadline ends no connection",
        "reward/judges/bounded_http.py",
        "own.shutdown(socket.SHUT_RDWR)",
        "own.fileno()",
        "reward/judges/test_openai.py",
    ),
)
