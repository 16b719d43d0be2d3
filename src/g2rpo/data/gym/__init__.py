"""Six procedurally drawn visual tasks with reward distributions like those of real tasks.

Images have 64 x 64 pixels; nothing is read from disk or downloaded. `hard.py` is a second source:
text tasks whose rewards differ so much that estimators can be told apart.
"""
