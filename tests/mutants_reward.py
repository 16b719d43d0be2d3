"""Bugs in the default reward: what is read, what is paid, what is no answer."""

from mutant import Mutant

VERIFIER, PLACES, LETTERS, OPTION = "reward/verifier.py", "scoring/places.py", "scoring/letters.py", "scoring/option.py"
CHART, WRITTEN, BY_TYPE, VERIFIED = "scoring/chart.py", "scoring/written.py", "reward/by_type.py", "reward/verified_places.py"
T_VERIFIER, T_CHART, T_WRITTEN, T_LETTERS, T_PLACES = (
    "reward/test_verifier.py",
    *(f"scoring/test_{name}.py" for name in ("chart", "written", "letters", "places")),
)

REWARD_MUTANTS = (
    Mutant(
        "verifier: thinking is an answer",
        VERIFIER,
        'tagged(without_thinking(completion.replace("\\x00", "")))',
        "tagged(completion)",
        T_VERIFIER,
    ),
    Mutant(
        "verifier: the first verdict counts", VERIFIER, "max(verdicts, key=lambda verdict: verdict.accuracy)", "verdicts[0]", T_VERIFIER
    ),
    Mutant(
        "verifier: one letter of several is enough",
        VERIFIER,
        "answer_letters(answer, gold.options) == gold.letters",
        "bool((answer_letters(answer, gold.options) or frozenset()) & gold.letters)",
        T_VERIFIER,
    ),
    Mutant(
        "verifier: the tag is ignored",
        VERIFIER,
        "tidy_tags(completion, self.think_tag), self.think_tag",
        "tidy_tags(completion)",
        T_VERIFIER,
    ),
    Mutant("verifier: alternatives are not read", VERIFIER, 'if "alternatives" in prompt.meta:', "if False:", T_VERIFIER),
    Mutant("verifier: format without structure", BY_TYPE, "verdict.structure * form", "verdict.structure", T_VERIFIER),
    Mutant(
        "verifier: any notation has structure",
        VERIFIED,
        ", accuracy(answer, gold)), verdict.structure)",
        ", accuracy(answer, gold)), 1.0)",
        T_VERIFIER,
    ),
    Mutant(
        "options: the last of several counts",
        OPTION,
        'found = "" if others & set(options) - {letter} else letter',
        "found = letter",
        T_VERIFIER,
    ),
    Mutant("options: negated letters count", OPTION, "_RULED_OUT.search(text[max(0, start - 40) : start])", "None", T_VERIFIER),
    Mutant(
        "options: letters outside are golds",
        LETTERS,
        "if found and (not options or found <= set(options)) else None",
        "if found else None",
        T_VERIFIER,
    ),
    Mutant("options: words are letters", LETTERS, 'if known or max(letters) <= "J" else None', "", T_LETTERS),
    Mutant("chart: years have a tolerance", CHART, "_YEARS = range(1600, 2101)", "_YEARS = range(0)", T_CHART),
    Mutant("chart: the first of several numbers", CHART, "if len(found) == 1:", "if found:", T_CHART),
    Mutant("chart: the scale may differ", CHART, "if (got.scale == 1) != (wanted.scale == 1):", "if True:", T_VERIFIER),
    Mutant("chart: tolerance of the answer", CHART, "* abs(target) for value", "* abs(value) for value", T_CHART),
    Mutant("text: no compatibility forms", WRITTEN, 'unicodedata.normalize("NFKC", text)', "text", T_WRITTEN),
    Mutant(
        "text: words where there are no spaces",
        WRITTEN,
        "if _HAS_SPACELESS.search(gold) else len(wanted)",
        "if False else len(wanted)",
        T_WRITTEN,
    ),
    Mutant("text: pairs of one word", WRITTEN, "if len(wanted) > 1:", "if True:", T_VERIFIER),
    Mutant("places: corners stay swapped", PLACES, "(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))", "(x0, y0, x1, y1)", T_PLACES),
    Mutant("places: lists before objects", PLACES, "key=lambda value: not _has_keys(value)", "key=lambda value: 0", T_PLACES),
    Mutant("places: booleans are numbers", PLACES, "any(isinstance(item, bool) for item in items)", "False", T_PLACES),
)
