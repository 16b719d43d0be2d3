"""Who writes the completions, and how they become scored experience."""
