"""From the rewards of a rollout batch to one advantage per completion: one short file per
estimator, pure tensors in and out.

All of them satisfy `g2rpo.interfaces.Advantage`, see the rewards of the *whole* rollout batch (all
ranks), and take groups and tasks as arbitrary integer labels: rows of a group need not stand
together, and groups may differ in size.
"""
