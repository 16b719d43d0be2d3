"""g2rpo: multi-task reinforcement learning of vision-language models with Gaussian GRPO (arXiv
2604.08539).
"""

__version__ = "0.2.0"
