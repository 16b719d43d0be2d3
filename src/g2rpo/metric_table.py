"""The table of logged metrics: name, unit and meaning of each.

Names are `<noun>/<what>[/<task>[/<task>]]`. A `per_task` metric exists once per task in the step, a
`per_pair` metric once per pair of tasks, and a `per_benchmark` metric once per benchmark
(`benchmark/score/mmmu`). The last word of a `per_part` metric stands for the names of parts
(`reward/brevity/chart`). `g2rpo.metrics` finds the entry of a logged column.
Metrics of time and memory are in `g2rpo.time_metric_table`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One logged metric: `unit` labels its axis; `summary` selects the value that sums up a run."""

    name: str
    unit: str
    meaning: str
    per_task: bool = False
    per_pair: bool = False
    per_benchmark: bool = False
    per_part: bool = False
    summary: str = "last"


METRICS = (
    Metric(
        "rollout_batch",
        "batches",
        "rollout batches learned from so far; `step` counts optimizer updates",
    ),
    Metric("reward/total", "reward", "mean reward of a completion, before shaping", summary="max"),
    Metric(
        "reward/accuracy",
        "score in [0, 1]",
        "mean accuracy of a completion",
        per_task=True,
        summary="max",
    ),
    Metric(
        "reward/format",
        "frac",
        "share of completions in the asked format",
        per_task=True,
        summary="max",
    ),
    Metric("reward/structure", "reward", "mean of the structure part", per_task=True),
    Metric(
        "reward/part",
        "reward",
        "mean of a part that a reward of yours returns, under its own name, over the completions"
        " that have it",
        per_task=True,
        per_part=True,
    ),
    Metric("reward/length", "reward", "mean of the length part, before its weight", per_task=True),
    Metric(
        "reward/failed_frac",
        "frac",
        "share of completions whose reward could not be computed",
        per_task=True,
    ),
    Metric("advantage/mean", "advantage", "mean advantage", per_task=True),
    Metric(
        "advantage/std",
        "advantage",
        "standard deviation of the advantages (population)",
        per_task=True,
    ),
    Metric(
        "advantage/normal_distance",
        "frac",
        "largest gap between the advantages' distribution and N(0, 1)",
        per_task=True,
    ),
    Metric(
        "advantage/tie_frac",
        "frac",
        "share of completions whose reward another one of their group has too",
        per_task=True,
    ),
    Metric(
        "advantage/zero_signal_frac",
        "frac",
        "share of groups in which all rewards agree",
        per_task=True,
    ),
    Metric(
        "advantage/shaping_only_frac",
        "frac",
        "share of groups that differ in nothing but the length part or the KL",
        per_task=True,
    ),
    Metric(
        "filter/kept_frac",
        "frac",
        "share of drawn prompts whose group was neither all right nor all wrong",
        per_task=True,
    ),
    Metric("filter/draws", "draws", "prompt batches drawn for this step"),
    Metric(
        "policy/entropy_nats",
        "nats/token",
        "mean entropy of the next-token distribution",
        per_task=True,
    ),
    Metric(
        "policy/old_logprob_gap",
        "nats/token",
        "largest difference between the sampler's and the trainer's log-probability",
    ),
    Metric("rollout/completion_tokens", "tokens", "mean completion length", per_task=True),
    Metric(
        "rollout/truncated_frac",
        "frac",
        "share of completions cut at rollout.max_new_tokens",
        per_task=True,
    ),
    Metric(
        "rollout/sync_logprob_gap",
        "nats/token",
        "largest difference between engine and trainer after the weights went over",
        summary="max",
    ),
    Metric(
        "rollout/logprob_gap_mean",
        "nats/token",
        "mean |log-probability| difference of sampler and trainer",
        per_task=True,
        summary="max",
    ),
    Metric(
        "rollout/logprob_gap_max",
        "nats/token",
        "largest difference of sampler and trainer",
        per_task=True,
        summary="max",
    ),
    Metric(
        "rollout/sampler_k3",
        "nats/token",
        "KL of sampler and trainer, k3 estimate",
        per_task=True,
        summary="max",
    ),
    Metric(
        "rollout/ess_frac",
        "frac",
        "effective sample size of the importance weights trainer / sampler",
        per_task=True,
        summary="min",
    ),
    Metric(
        "rollout/rejected_frac",
        "frac",
        "share of tokens that loss.rejection keeps out of the loss",
        per_task=True,
        summary="max",
    ),
    Metric(
        "staleness/mean",
        "updates",
        "mean number of updates since the weights that sampled a token",
        per_task=True,
    ),
    Metric(
        "staleness/max",
        "updates",
        "largest number of updates since the weights that sampled a token",
        per_task=True,
        summary="max",
    ),
    Metric(
        "rollout/num_regenerated",
        "prompts",
        "prompts asked again because a request failed",
        summary="max",
    ),
    Metric(
        "rollout/num_restarts",
        "restarts",
        "times the engine had to be started again",
        summary="max",
    ),
    Metric(
        "staleness/num_asked_again",
        "groups",
        "groups whose tokens were older than rollout.max_staleness when they were to be learned"
        " from, so that they were written again",
    ),
    Metric("rollout/freed_gib", "GiB", "GPU memory that the sleeping engine gave back"),
    Metric(
        "shaping/length_low_tokens",
        "tokens",
        "shortest length that the length part pays in full; W&B only",
        per_task=True,
    ),
    Metric(
        "shaping/length_high_tokens",
        "tokens",
        "longest length that the length part pays in full; W&B only",
        per_task=True,
    ),
    Metric(
        "shaping/entropy_low_nats", "nats/token", "lower end of the entropy band; W&B only", True
    ),
    Metric(
        "shaping/entropy_high_nats", "nats/token", "upper end of the entropy band; W&B only", True
    ),
    Metric("shaping/entropy_weight", "loss/nat", "weight of the entropy; below 0: raises it", True),
    Metric("loss/policy", "loss", "the clipped surrogate"),
    Metric("loss/kl", "nats/token", "KL penalty to the reference, before its coefficient"),
    Metric(
        "loss/entropy_band",
        "loss",
        "penalty for entropy outside its band; below 0 while a dual variable falls",
    ),
    Metric("loss/nats_per_token", "nats/token", "cross-entropy of the demonstrations (cold start)"),
    Metric(
        "loss/task_nats_per_token",
        "nats/token",
        "the same for the demonstrations of one task",
        per_task=True,
    ),
    Metric("loss/clip_frac", "frac", "share of tokens whose ratio the clip cut off"),
    Metric("loss/ratio_mean", "ratio", "mean probability ratio to the sampling policy"),
    Metric(
        "gradient/norm",
        "norm",
        "gradient norm of one task alone, on the probe batch",
        per_task=True,
    ),
    Metric("gradient/cosine", "cosine", "cosine between two tasks' gradients", per_pair=True),
    Metric("gradient/min_cosine", "cosine", "smallest cosine between two tasks' gradients"),
    Metric("gradient/norm_ratio", "ratio", "largest over smallest gradient norm of a task"),
    Metric("curriculum/share", "frac", "share of a task in the next step", per_task=True),
    Metric("gradient/weight", "1", "weight of a task's gradient in an update", per_task=True),
    Metric("optim/grad_norm", "norm", "gradient norm before clipping"),
    Metric("optim/lr", "1", "learning rate"),
    Metric(
        "benchmark/score",
        "score in [0, 1]",
        "headline score of a benchmark",
        per_benchmark=True,
        summary="max",
    ),
    Metric(
        "benchmark/parse_rate",
        "frac",
        "share of a benchmark's rows in whose completion an answer was found",
        per_benchmark=True,
    ),
    Metric(
        "benchmark/macro",
        "score in [0, 1]",
        "mean over the benchmarks that are asked",
        summary="max",
    ),
    Metric(
        "val/accuracy",
        "score in [0, 1]",
        "mean accuracy of sampled completions on held-out prompts",
        per_task=True,
        summary="max",
    ),
    Metric(
        "val/macro",
        "score in [0, 1]",
        "mean over tasks of the sampled accuracy on held-out prompts",
        summary="max",
    ),
    Metric(
        "val/greedy_macro",
        "score in [0, 1]",
        "mean over tasks of the greedy accuracy on held-out prompts",
        summary="max",
    ),
)
