"""Where rewards run: `inline` in the trainer's process, `pool` in processes of their own, which may
hang or die without the run.
"""
