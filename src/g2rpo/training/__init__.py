"""Training with Lightning.

`module.py` holds the `LightningModule`; its `training_step` is the whole algorithm on one screen:
rollouts, scores, advantages, updates, weight sync. `update.py` computes the gradient of one
minibatch, and `batch_plan.py` cuts a rollout batch into minibatches and micro-batches.

    lightning_hooks.py       Base class of the module: logging, validation, checkpoints.
    datamodule.py            The `LightningDataModule`: streams prompts of all tasks.
    run.py, parts.py         What `train.py` does: build, validate, train, report.
    validation.py            Held-out prompts as validation; `benchmark_callback.py`: benchmarks.
    gradients.py             Sum and clip the gradient; in which direction each task pulls.
    step_metrics.py          The row of metrics of a rollout batch.
    tracking/                Loggers, and what each of them is sent.
    estimate/                Memory and seconds of a run before it starts (`estimate.py`).
    cold_start.py            The supervised training that made the checkpoint that ships.

In: the composed configuration. Out: a run folder (README, "What a run leaves behind").
Start with `module.py`.
"""
