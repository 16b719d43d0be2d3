"""Sweeps: many runs of one question, each in a process of its own.

Hydra finds the launchers through `src/hydra_plugins/`. A sweep folder remembers which jobs have
finished, so that the same command run again starts only what is missing.

    sweep_plan.py, job.py   What the jobs of a sweep are, and how each is named.
    launch.py               Runs the jobs that are missing and writes the page.
    job_runner.py           Where jobs run: on this machine or on a cluster (submitit).
    process.py              One job as a child process.

The questions themselves are the files in `sweeps/`. Start with `launch.py`.
"""
