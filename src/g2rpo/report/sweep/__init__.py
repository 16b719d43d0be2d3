"""Reads the jobs of a sweep, writes `sweep.html` and `sweep.csv`. Imports no torch."""
