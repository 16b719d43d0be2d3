"""Where rewards run: `inline` in the trainer's process, `pool` in worker processes.

A worker process may hang or die without ending the run.
"""
