"""Mutants of `src/g2rpo/reward/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "functions: weights are ignored",
        "reward/functions.py",
        "total += weight * worth",
        "total += worth",
        "reward/test_functions.py",
    ),
    Mutant(
        "functions: the score is beside its parts",
        "reward/functions.py",
        "(sum(parts.values()) if parts else None)",
        "(max(parts.values()) if parts else None)",
        "reward/test_functions.py",
    ),
    Mutant(
        "functions: a function without weight is a part",
        "reward/functions.py",
        'prefix = "" if carries else LOGGED',
        'prefix = ""',
        "reward/test_functions.py",
    ),
    Mutant(
        "functions: the last value stands in for the accuracy",
        "reward/functions.py",
        "first = worth if first is None else first",
        "first = worth",
        "reward/test_functions.py",
    ),
    Mutant(
        "functions: coroutines run one after the other",
        "reward/functions.py",
        "return await asyncio.gather(*awaited, return_exceptions=True)",
        "return [await one for one in awaited]",
        "reward/test_functions.py",
    ),
    Mutant(
        "functions: our fields hide those of the record",
        "reward/user_function.py",
        "{**known, **prompt.meta, **prompt.columns}",
        "{**prompt.columns, **prompt.meta, **known}",
        "reward/test_user_function.py",
    ),
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
