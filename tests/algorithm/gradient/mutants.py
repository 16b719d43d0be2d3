"""Mutants of `src/g2rpo/algorithm/gradient/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "the order follows the global seed",
        "algorithm/gradient/pcgrad.py",
        "manual_seed(seed)",
        "initial_seed()",
        "algorithm/gradient/test_pcgrad.py",
    ),
    Mutant(
        "the mean instead of the sum",
        "algorithm/gradient/aligned_mtl.py",
        "len(gramian) * ",
        "1 * ",
        "algorithm/gradient/test_aligned_mtl.py",
    ),
    Mutant(
        "always the smallest eigenvalue",
        "algorithm/gradient/aligned_mtl.py",
        "scale_mode=scale",
        'scale_mode="min"',
        "algorithm/gradient/test_aligned_mtl.py",
    ),
    Mutant(
        "short gradients count as none",
        "algorithm/gradient/cagrad.py",
        "gramian / gramian.trace()",
        "gramian",
        "algorithm/gradient/test_weighting.py",
    ),
    Mutant(
        "the radius is twice as large",
        "algorithm/gradient/cagrad.py",
        "CAGradWeighting(c=c)",
        "CAGradWeighting(c=2 * c)",
        "algorithm/gradient/test_cagrad.py",
    ),
)
