"""Models that answer grading prompts: `Callable[[str], str]`, one file per kind of endpoint, built
by `conf/judge/NAME.yaml`.
"""
