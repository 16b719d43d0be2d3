"""Mutants of `src/g2rpo/reward/workers/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "workers: no limit of memory",
        "reward/workers/worker.py",
        "resource.RLIM_INFINITY if memory_gib is None else int(memory_gib * 2**30)",
        "resource.RLIM_INFINITY",
        "reward/workers/test_hostile_rewards.py",
    ),
    Mutant(
        "workers: what a reward has started stays",
        "reward/workers/worker.py",
        "os.killpg(self.process.pid, signal.SIGKILL)",
        "self.process.kill()",
        "reward/workers/test_hostile_rewards.py",
    ),
)
