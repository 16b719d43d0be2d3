"""What the model can do: the held-out prompts of the training source, and the benchmarks."""
