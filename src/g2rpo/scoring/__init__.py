"""Judges of text: an answer and a gold answer in, a number out. Shared by the rewards and the benchmarks.

    extract.py  which part of a completion is the answer, and whether it keeps the asked format
    choice.py   option letters             number.py  numbers, exact to graded
    text.py     words and characters       stem.py    word stems, for ROUGE
    math.py     equal mathematics          boxes.py   boxes and points       spans.py  stretches of time

A strange answer never raises, it scores 0; what a gold answer must look like is checked by the caller.
"""
