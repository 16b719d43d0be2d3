"""The page and the table over a sweep: reads the jobs' summaries and curves, writes `sweep.html` and `sweep.csv`. Imports no torch."""
