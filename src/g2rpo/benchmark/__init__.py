"""The 18 benchmarks, their rows, and the evaluation that runs them.

    <name>.py        One benchmark: rows, prompt, verdict, demo rows and the scores in the paper.
    base.py          What all benchmarks share. `multiple_choice.py` adds options with letters.
    columns.py       The column names that are understood, and how cells are read.
    grading.py       The prompts to a judge model, and how its replies are read.
    rows/            Where rows come from: the Hub, TSV files, a folder, or the demo rows.
    evaluation/      Selects rows, generates, stores predictions so that a killed run resumes, and
                     computes scores with intervals and a table next to the paper's scores.

In: a policy in a rollout engine, or a file of predictions. Out: `eval/<benchmark>.jsonl`, and the
`benchmarks` entry of `summary.json`. Start with `base.py` and one short benchmark, `chartqa.py`.
"""
