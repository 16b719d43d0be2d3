"""Mutants of `src/g2rpo/training/estimate/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "estimate: keys without values",
        "training/estimate/activations.py",
        "return 2 * shape.keys * shape.layers",
        "return shape.keys * shape.layers",
        "training/estimate/test_activations.py",
    ),
    Mutant(
        "estimate: norms in the model's dtype",
        "training/estimate/activations.py",
        "norms = 2 * shape.hidden * (4 + 2 * b)",
        "norms = 2 * shape.hidden * b",
        "training/estimate/test_activations.py",
    ),
    Mutant(
        "estimate: MLPs keep their input alone",
        "training/estimate/activations.py",
        "(4 * shape.inner + shape.routed)",
        "(shape.inner + shape.routed)",
        "training/estimate/test_activations.py",
    ),
    Mutant(
        "estimate: tied heads count twice",
        "training/estimate/shape.py",
        "for name, p in policy.named_parameters() if not",
        "for name, p in policy.state_dict().items() if not",
        "training/estimate/test_shape.py",
    ),
    Mutant(
        "estimate: frozen weights have a state",
        "training/estimate/shape.py",
        "trained = [p for p in policy.parameters() if p.requires_grad]",
        "trained = list(policy.parameters())",
        "training/estimate/test_shape.py",
    ),
    Mutant(
        "estimate: gradients come last",
        "training/estimate/memory.py",
        "        return whole + head\n",
        "        return head\n",
        "training/estimate/test_memory.py",
    ),
    Mutant(
        "estimate: one cache for a group",
        "training/estimate/memory.py",
        "load.asked * load.lengths.longest + rows * room",
        "load.prompts * load.lengths.longest + load.prompts * room",
        "training/estimate/test_memory.py",
    ),
    Mutant(
        "estimate: nothing is computed again",
        "training/estimate/seconds.py",
        "again = 1.0 if",
        "again = 0.0 if",
        "training/estimate/test_seconds.py",
    ),
    Mutant(
        "estimate: a prompt passes per completion",
        "training/estimate/workload.py",
        "if self.shared:",
        "if not self.shared:",
        "training/estimate/test_workload.py",
    ),
    Mutant(
        "estimate: shards hold the whole optimizer state",
        "training/estimate/memory.py",
        "state if shape.adapter else state // load.shards",
        "state",
        "training/estimate/test_memory.py",
    ),
    Mutant(
        "estimate: advice without effect",
        "training/estimate/changes.py",
        "if not setup.load.checkpointing:",
        "if True:",
        "training/estimate/test_advice.py",
    ),
)
