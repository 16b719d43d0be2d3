"""Mutants of `src/g2rpo/launch/`; `python tests/mutate.py` plants them."""

from mutant import Mutant

MUTANTS = (
    Mutant(
        "launch: an echo is blamed",
        "launch/coordinator.py",
        "key=lambda item: item[1].echo",
        "key=lambda item: item[0]",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: a rank that left has died",
        "launch/coordinator.py",
        "who.rank not in self._left | set(self._failed)",
        "who.rank not in self._failed",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: a rank that waits is blamed",
        "launch/coordinator.py",
        "if not self._stuck[rank].waits]",
        "]",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: the rank with most progress is blamed",
        "launch/coordinator.py",
        "least = min(self._stuck[rank].marks for rank in present)",
        "least = max(self._stuck[rank].marks for rank in present)",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: other machines can always connect",
        "launch/coordinator.py",
        "if me.num_nodes == 1 else",
        "if False else",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: strangers are admitted",
        "launch/coordinator.py",
        "wire.admit(self.key, ADMIT_S)",
        "",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: silent ranks go on",
        "launch/messages.py",
        'tuple(Member(**own) for own in fields["silent"])',
        "()",
        "launch/test_messages.py",
    ),
    Mutant(
        "launch: loading is hanging",
        "launch/marks.py",
        "limit_s if _begun else max(limit_s, START_S)",
        "limit_s",
        "launch/test_marks.py",
    ),
    Mutant(
        "launch: nodes are not counted",
        "launch/counts.py",
        "if devices * num_nodes != me.world_size:",
        "if devices != me.world_size:",
        "launch/test_counts.py",
    ),
    Mutant(
        "launch: tasks of srun count as nodes",
        "launch/member.py",
        '("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")',
        '("SLURM_LOCALID", "SLURM_NTASKS", "SLURM_LOCALID")',
        "launch/test_member.py",
    ),
    Mutant(
        "launch: the tasks of rank 0 die with it",
        "launch/coordinator.py",
        "if who.rank == self.me.rank:",
        "if False:",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: a rank keeps the tasks of its first prompts",
        "launch/coordinator.py",
        "self._working[who.rank] = message",
        "self._working.setdefault(who.rank, message)",
        "launch/test_coordinator.py",
    ),
    Mutant(
        "launch: tasks are told again and again",
        "launch/marks.py",
        "if names != _tasks:",
        "if True:",
        "launch/test_marks.py",
    ),
)
