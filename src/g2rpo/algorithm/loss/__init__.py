"""Policy losses over completion tokens: one short file per loss, all of them a `PolicyLoss` with
another per-token formula.
"""
