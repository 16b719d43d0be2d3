"""Loggers: W&B with metrics, tables and settings; pictures for TensorBoard and MLflow.

`callback.py` calls them after every rollout batch. Start with `wandb_tracker.py`.
"""
