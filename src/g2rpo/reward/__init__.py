"""Rewards: a completion and its prompt go in, named numbers come out.

    verifier.py          The default. It reads answers as the benchmarks do, and pays right ones.
    openvlthinker.py     The released reward of OpenVLThinker-v2, equal to the last number.
    judge.py             Asks a model where rules cannot decide; `judges/` has the clients.
    outliers.py          Adds rare outliers to another reward, to study estimators.
    functions.py         Functions of yours, TRL's and verl's; `user_function.py` calls them.
    workers/             Runs any reward in worker processes, with a time limit per sample.

A reward returns `total`, `accuracy`, and its other parts by name. A function of your own needs no
file here (`reward=functions`), a class one yaml in `conf/reward/` (CONTRIBUTING.md). Start with
`verifier.py`; rules and examples are in docs/rewards.md.
"""
