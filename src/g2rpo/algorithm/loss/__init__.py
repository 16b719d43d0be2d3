"""Policy losses over completion tokens: one file per loss.

Every loss subclasses `policy.PolicyLoss` and defines the loss of one token. The base class adds
masking, aggregation, the KL term (`kl.py`) and the importance weight for a different sampler.

Start with `policy.py`, then `clip.py`.
"""
