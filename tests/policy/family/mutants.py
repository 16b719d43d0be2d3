"""Mutants of `src/g2rpo/policy/family/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "image positions forgotten",
        "policy/family/qwen_vl.py",
        "batch.attention_mask.sum(1) + deltas[:, 0]",
        "batch.attention_mask.sum(1)",
        "policy/test_forward.py",
    ),
    Mutant(
        "model: deepstack is dropped",
        "policy/family/qwen_vl.py",
        'if hasattr(features, "deepstack_features"):',
        "if False:",
        "policy/test_stats.py policy/test_forward.py",
    ),
)
