"""Advantage estimators, one per file: rewards of a rollout batch -> one advantage per completion.

Every estimator satisfies `g2rpo.interfaces.Advantage` and receives the rewards of the *whole*
rollout batch, gathered from all ranks. Groups and tasks are arbitrary integer labels: the rows of a
group need not be contiguous, and groups may differ in size.

Start with `grpo.py`, then `g2rpo.py`. Shared code: `group_statistics.py` (means and normal
quantiles per group or task, metrics), `reward_parts.py`.
"""
