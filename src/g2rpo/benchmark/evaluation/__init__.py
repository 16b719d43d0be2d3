"""Running benchmarks: plan the rows, generate completions, score them, and compare with the paper.

suite.py         The `eval` choice of a run: benchmarks, rows, protocol, judge. Start here.
plan.py          Which rows are used.
runner.py        One benchmark: generate what is missing, score every row, write it.
verdicts.py      Scores of completions; failures are counted and never end the run.
predictions.py   The files with predictions, which make an evaluation resumable.
metric.py        Score, sub-scores and confidence interval of a benchmark.
results.py       The `benchmarks` entry of `summary.json`; `table.py` prints it.
rescore.py       Scores predictions that exist, also those in VLMEvalKit's files.
"""
