"""A W&B view of a project, defined in code.

W&B shows one panel per column in alphabetical order; this view has a few sections instead.
`view.py` derives them from `metrics.py`, `workspace.py` translates them for `wandb-workspaces`, and
`python -m g2rpo.report.dashboard` saves the view.
"""
