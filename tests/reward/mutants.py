"""Mutants of `src/g2rpo/reward/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "verifier: thinking is an answer",
        "reward/verifier.py",
        'tagged(without_thinking(completion.replace("\\x00", "")))',
        "tagged(completion)",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: the first verdict counts",
        "reward/verifier.py",
        "max(verdicts, key=lambda verdict: verdict.accuracy)",
        "verdicts[0]",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: one letter of several is enough",
        "reward/verifier.py",
        "answer_letters(answer, gold.options) == gold.letters",
        "bool((answer_letters(answer, gold.options) or frozenset()) & gold.letters)",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: the tag is ignored",
        "reward/verifier.py",
        "tidy_tags(completion, self.think_tag), self.think_tag",
        "tidy_tags(completion)",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: alternatives are not read",
        "reward/verifier.py",
        'if "alternatives" in prompt.meta:',
        "if False:",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: format without structure",
        "reward/by_type.py",
        "verdict.structure * form",
        "verdict.structure",
        "reward/test_verifier.py",
    ),
    Mutant(
        "verifier: any notation has structure",
        "reward/verified_places.py",
        ", accuracy(answer, gold)), verdict.structure)",
        ", accuracy(answer, gold)), 1.0)",
        "reward/test_verifier.py",
    ),
)
