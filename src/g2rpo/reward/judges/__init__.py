"""Models that answer grading prompts: `Callable[[str], str]`, one file per kind of endpoint.

`conf/judge/NAME.yaml` builds them.
"""
