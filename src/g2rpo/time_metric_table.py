"""The table of logged metrics of time, idle time, speed and memory, as in `g2rpo.metric_table`."""

from g2rpo.metric_table import Metric

TIME_METRICS = (
    Metric("time/step_s", "s", "whole step"),
    Metric("time/rollout_s", "s", "drawing, generating and scoring completions"),
    Metric("time/gradient_conflict_s", "s", "measuring gradient conflict"),
    Metric("time/update_s", "s", "forward, backward and optimizer"),
    Metric(
        "time/trainer_wait_frac",
        "frac",
        "share of the step in which the trainer waited for completions",
    ),
    Metric(
        "time/engine_idle_frac",
        "frac",
        "share of the step in which the engine neither generated nor received weights",
    ),
    Metric(
        "time/data_s",
        "s",
        "drawing and encoding prompts; the step's first batch is drawn before time/step_s begins",
    ),
    Metric("time/vision_s", "s", "vision tower, in rollouts and in forward passes"),
    Metric("time/prefill_s", "s", "prompts through the network before the first sampled token"),
    Metric("time/decode_s", "s", "sampling completions; 0 if they are written ahead"),
    Metric("time/reward_s", "s", "judging completions"),
    Metric("time/advantage_s", "s", "shaped rewards and advantages"),
    Metric(
        "time/old_logprobs_s",
        "s",
        "log-probabilities of completions under the reference, and under the policy where"
        " asked for",
    ),
    Metric("time/forward_s", "s", "forward passes and loss of the updates, vision tower apart"),
    Metric("time/backward_s", "s", "backward passes of the updates"),
    Metric("time/optimizer_s", "s", "clipping and optimizer steps"),
    Metric(
        "time/sync_s",
        "s",
        "giving the new weights to the sampler, and the proof that they arrived; part of the"
        " update",
    ),
    Metric(
        "time/tokens_per_second",
        "tokens/s",
        "prompt and completion tokens of a step, each prompt once, over its time",
    ),
    Metric(
        "time/useful_frac",
        "frac",
        "share of tokens in training passes that are neither padding nor a prompt's copy",
    ),
    Metric("time/tflops", "TFLOP/s", "least work of generating and learning, over the step's time"),
    Metric(
        "time/peak_gib",
        "GiB",
        "most memory that a process has held so far: what torch allocated on a GPU, else resident"
        " memory",
        summary="max",
    ),
    Metric("time/mfu_frac", "frac", "the same as a share of what the GPUs can do in bfloat16"),
)
