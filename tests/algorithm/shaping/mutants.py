"""Mutants of `src/g2rpo/algorithm/shaping/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant("plateau begins late", "algorithm/shaping/length.py", "length >= low", "length > low", "algorithm/shaping/test_length.py"),
    Mutant(
        "no fall after the plateau", "algorithm/shaping/length.py", "torch.minimum(rise, fall)", "rise", "algorithm/shaping/test_length.py"
    ),
    Mutant(
        "short and wrong pays",
        "algorithm/shaping/length.py",
        "accuracy >= self.min_accuracy",
        "accuracy >= 0",
        "algorithm/shaping/test_length.py",
    ),
    Mutant(
        "good enough is not enough",
        "algorithm/shaping/length.py",
        "accuracy >= self.min_accuracy",
        "accuracy > self.min_accuracy",
        "algorithm/shaping/test_length.py",
    ),
    Mutant(
        "format forgotten in agreement",
        "algorithm/shaping/length.py",
        "differs(accuracy, groups) | differs(total, groups)",
        "differs(accuracy, groups)",
        "algorithm/shaping/test_length.py",
    ),
    Mutant(
        "accuracy forgotten in agreement",
        "algorithm/shaping/length.py",
        "differs(accuracy, groups) | differs(total, groups)",
        "differs(total, groups)",
        "algorithm/shaping/test_length.py",
    ),
    Mutant(
        "length ranks agreeing groups",
        "algorithm/shaping/length.py",
        "if not self.allow_in_unanimous_groups",
        "if False",
        "algorithm/shaping/test_length.py",
    ),
    Mutant(
        "length part weighed twice",
        "algorithm/shaping/__init__.py",
        "self.length.weight * part",
        "self.length.weight**2 * part",
        "algorithm/shaping/test_shaping.py",
    ),
    Mutant("absent task pays", "algorithm/shaping/entropy.py", "excess.where(present, 0.0)", "excess", "algorithm/shaping/test_entropy.py"),
    Mutant(
        "absent task is pushed", "algorithm/shaping/entropy.py", "0.0)).where(present, 0.0)", "0.0))", "algorithm/shaping/test_entropy.py"
    ),
    Mutant(
        "entropy pushed outward",
        "algorithm/shaping/entropy.py",
        "mean > high, 1.0,",
        "mean > high, -1.0,",
        "algorithm/shaping/test_entropy.py",
    ),
    Mutant("low side forgotten", "algorithm/shaping/entropy.py", " + (low - mean).clamp(min=0)", "", "algorithm/shaping/test_entropy.py"),
    Mutant(
        "micro-batch counts its own task tokens",
        "algorithm/shaping/entropy.py",
        "entropy_sum, _ = task_sums",
        "entropy_sum, tokens = task_sums",
        "algorithm/shaping/test_entropy.py",
    ),
    Mutant(
        "entropy of padding", "algorithm/shaping/entropy.py", "entropy.where(inside, 0.0)", "entropy", "algorithm/shaping/test_entropy.py"
    ),
    Mutant(
        "estimators swapped",
        "algorithm/shaping/entropy.py",
        'if self.estimator == "exact"',
        'if self.estimator != "exact"',
        "algorithm/shaping/test_entropy.py",
    ),
    Mutant(
        "entropy weight forgotten",
        "algorithm/shaping/entropy.py",
        "return self.weight * (signs",
        "return (signs",
        "algorithm/shaping/test_entropy.py",
    ),
    Mutant(
        "few good completions suffice",
        "algorithm/shaping/pilot.py",
        "good if len(good) >= FEWEST else found.tokens",
        "good",
        "algorithm/shaping/test_pilot.py",
    ),
    Mutant(
        "mean of mean entropies",
        "algorithm/shaping/pilot.py",
        "(found.entropy_sum.double().sum() / found.tokens.sum()).item()",
        "(found.entropy_sum.double() / found.tokens).mean().item()",
        "algorithm/shaping/test_pilot.py",
    ),
    Mutant(
        "agreement is disagreement",
        "algorithm/shaping/pilot.py",
        "(~differs(found.total",
        "(differs(found.total",
        "algorithm/shaping/test_pilot.py",
    ),
    Mutant(
        "variance for kurtosis",
        "algorithm/shaping/pilot.py",
        "centerd.pow(4).mean()",
        "centerd.pow(2).mean()",
        "algorithm/shaping/test_pilot.py",
    ),
)
