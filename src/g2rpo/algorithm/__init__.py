"""The mathematics of G2RPO and of the estimators it is compared with.

Everything here is pure: tensors go in, tensors and plain numbers come out. No module knows the
trainer, the configuration or a logger, and nothing heavier than torch is imported.

    advantage/   One file per estimator: rewards of a rollout batch -> one advantage per completion.
                 `group_statistics.py` maps ranks to quantiles of a normal distribution, and has
                 means per group and per task and the numbers that are logged.
    loss/        One file per policy loss: log-probabilities and advantages -> a scalar. `policy.py`
                 adds what all losses share (importance weights, KL term, aggregation), `kl.py` has
                 the three KL estimators.
    shaping/     Bands per task for response length (a part of the reward) and for entropy (a term
                 of the loss). `pilot.py` proposes bands from measured quantiles.

A step calls them in this order: `shaping.length` changes rewards, `advantage` ranks them, `loss`
and `shaping.entropy` turn them into a gradient (`training/module.py`, `training/update.py`).

Start with `advantage/g2rpo.py`. A new estimator or loss is one file here and one yaml in
`conf/advantage/` or `conf/loss/`; `g2rpo.interfaces` says how it is called.
"""
