"""The W&B view of a project, as code: what matters in a few sections, instead of a panel per column
in the order of the alphabet.
"""
