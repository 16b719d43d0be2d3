"""The policy: loading a checkpoint, encoding prompts, and the forward pass of training.

A prompt and its images pass through the model once per group of completions, and logits over the
whole vocabulary are never held in memory at once. The results are exact.

    checkpoint.py                 A folder of Hugging Face weights -> model and encoder; export.
    encoder.py                    Prompts -> token ids, image patches and masks (`PromptBatch`).
    stats.py                      The door for training: log-probability and entropy per token.
    forward.py, packing.py        Vision tower and text model on packed rows.
    shared_prefix.py,
    prefix_attention.py           One pass per prompt for all completions of its group.
    head.py                       Log-probability and entropy in pieces of the vocabulary.
    prefix_cache.py               The cache of sampling, which holds a prompt once for its group.
    adapter.py                    LoRA: what is trained, merged, saved and switched off.
    tiny.py, tiny_qwen3_vl/       The small Qwen3-VL that ships with the package.

In: `Prompt` records and completions. Out: `PromptBatch`, and `logprobs` and `entropy` of shape
[completions, tokens] in nats. Start with `stats.py`, then `shared_prefix.py`.
"""
