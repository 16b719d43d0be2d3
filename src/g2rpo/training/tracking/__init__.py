"""W&B beside the files of a run: the same numbers, and what files show badly."""
