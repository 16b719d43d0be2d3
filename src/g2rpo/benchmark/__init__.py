"""The 18 benchmarks, their rows, and the evaluation that asks them.

    <name>.py        One benchmark: its rows, its prompt, its verdict, its demo rows and the score
                     that the paper reports. `base.py` has what all of them share, `columns.py` the
                     column names that are understood, `grading.py` the calls to a judge.
    rows/            Where rows come from: the Hub, TSV files, a folder, or the demo rows.
    evaluation/      Plans which rows are asked, asks an engine, stores predictions so that a killed
                     run resumes, and computes scores with intervals and the table beside the paper.

In: a policy in a rollout engine, or a file of predictions. Out: `eval/<benchmark>.jsonl`, and the
`benchmarks` entry of `summary.json`. Start with `base.py` and one short benchmark, `chartqa.py`.
"""
