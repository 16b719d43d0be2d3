"""Mutants of `src/g2rpo/benchmark/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "metric: no continuity correction",
        "benchmark/evaluation/metric.py",
        "math.sqrt(root) - 1)",
        "math.sqrt(root))",
        "benchmark/evaluation/test_metric.py",
    ),
    Mutant(
        "metric: a bootstrap of the sample alone",
        "benchmark/evaluation/metric.py",
        "np.append(scores.double().numpy(), (0.0, 1.0))",
        "scores.double().numpy()",
        "benchmark/evaluation/test_metric.py",
    ),
    Mutant(
        "judge: one pass suffices",
        "benchmark/mmbench.py",
        "judge=judge) == 1)",
        "judge=judge) > 0)",
        "benchmark/test_mmbench.py",
    ),
    Mutant(
        "judge: a right 0 counts",
        "benchmark/mathvista_rules.py",
        "(final or bool(value))",
        "True",
        "benchmark/test_mathvista.py",
    ),
)
