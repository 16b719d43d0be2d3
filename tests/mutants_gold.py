"""Bugs in the check of gold answers: bad records that pass, good ones that are refused."""

from mutant import Mutant

WRONG, TRIES, CHECK, STEPS = "data/wrong_answers.py", "data/gold_tries.py", "training/gold_check.py", "training/datamodule.py"
HUB = "data/hub_source.py"
T_WRONG, T_TRIES, T_CHECK = "data/test_wrong_answers.py", "data/test_gold_tries.py", "training/test_gold_check.py"
T_STEPS, T_HUB = "training/test_datamodule.py", "data/test_hub_source.py"

GOLD_MUTANTS = (
    Mutant("gold: another option may be right", WRONG, "if letter not in right and", "if", T_WRONG),
    Mutant("gold: an option of the same text is wrong", WRONG, ".strip().lower() not in same", ".strip().lower() != same", T_WRONG),
    Mutant("gold: a far number is near", WRONG, "+ 7919", "+ 0", T_WRONG),
    Mutant("gold: exponents are changed", WRONG, "(?<![_^]\\{)", "", T_WRONG),
    Mutant("gold: sines are changed", WRONG, r"[^\W\d_]{3,}", r"[^\W\d_]{7,}", T_WRONG),
    Mutant("gold: both sides of an equation are changed", WRONG, 'bare.rfind("=") + 1', "0", T_WRONG),
    Mutant("gold: 4 / 2 is not 2", WRONG, "if above != below**2 else []", "", T_WRONG),
    Mutant("gold: 2 sqrt(4) is not 4", WRONG, "if radicand not in (0, factor**2) else []", "", T_WRONG),
    Mutant("gold: boxes stay", WRONG, "return [far, far, far + CORNER, far + CORNER]", "return value", T_WRONG),
    Mutant("gold: alternatives are not tried", TRIES, "*((GOLD, gold) for gold in golds)", "(GOLD, golds[0])", T_TRIES),
    Mutant("gold: words become formulas", TRIES, "and not _WORD.search(answer)", "", T_TRIES),
    Mutant("gold: a percent sign ends the formula", TRIES, 'r"\\\\%", answer)', 'r"%", answer)', T_TRIES),
    Mutant("gold: the question is taken for the hint", TRIES, '.rpartition("\\n")[2].lower()', ".lower()", T_TRIES),
    Mutant("gold: tags are always the default", TRIES, "named = list(", "named = [] and list(", T_TRIES),
    Mutant("gold: partial credit is refused", TRIES, "if not tried.right and accuracy >= 1 - NEARLY", "if not tried.right and accuracy > 0",
           T_TRIES),
    Mutant("gold: nan is accepted", TRIES, "if tried.right and not accuracy >= 1 - NEARLY",
           "if tried.right and accuracy < 1 - NEARLY", T_TRIES),
    Mutant("gold: options that do not exist pass", TRIES, "or set(letters) <= set(options)", "or True", T_TRIES),
    Mutant("gold: held-out records are not checked", CHECK, 'for split in ("train", "heldout")]', 'for split in ("train",)]', T_CHECK),
    Mutant("gold: the sample forgets its seed", CHECK, 'Random(f"gold/{seed}")', 'Random("gold")', T_CHECK),
    Mutant("gold: a place is off by a split", CHECK, "found.append((task, split, number - first))",
           "found.append((task, split, number))", T_CHECK),
    Mutant("gold: the same gold is tried again", CHECK, "not in known and not by_model(prompt)",
           "is not None and not by_model(prompt)", T_CHECK),
    Mutant("gold: the judge is asked", CHECK, "and not by_model(prompt)}", "}", T_CHECK),
    Mutant("gold: other processes check again", CHECK, "if told is not None:", "if False:", T_CHECK),
    Mutant("gold: nothing is left out", CHECK, "source.leave_out(task, split, indices)", "pass", T_CHECK),
    Mutant("gold: what is left out is not counted", CHECK, "skips.unusable(finding.task, finding.reason)", "pass", T_CHECK),
    Mutant("gold: processes may see other data", STEPS, "if any(other != sizes[0] for other in sizes):", "if False:", T_STEPS),
    Mutant("gold: a data set leaves out the others", HUB, "= others(self._splits[task][split], indices)",
           "= [self._splits[task][split][index] for index in indices]", T_HUB),
)  # fmt: skip
