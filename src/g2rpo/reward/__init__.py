"""What a completion is worth. One file per reward; each satisfies `g2rpo.interfaces.Reward` and is built by `conf/reward/NAME.yaml`."""
