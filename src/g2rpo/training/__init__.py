"""What Lightning runs: the G2RPO module, the prompt data module, the cold start, and what a person sees meanwhile."""
