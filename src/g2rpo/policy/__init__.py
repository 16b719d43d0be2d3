"""The policy: loading a checkpoint, encoding prompts, and the forward pass of training.

A prompt and its images pass through the model once per group of completions, and logits over the
whole vocabulary are never held in memory at once. The results are exact.

    checkpoint.py                 Loads checkpoints in the Hugging Face format.
    weight_stream.py              Whole weights, tensor by tensor, for exports and engines.
    export.py                     Writes an ordinary Hugging Face folder.
    encoder.py                    Prompts -> token ids, image tensors and masks (`PromptBatch`).
    family/                       What differs between families of models; one file per family.
    stats.py                      Log-probability and entropy of every completion token.
    shared_prefix.py,
    prefix_attention.py           One pass per prompt for all completions of its group.
    shared_softmax.py             Its attention: three kernel calls, merged by their log-sum-exp.
    padded_calls.py,
    attention_products.py,
    varlen_calls.py,
    flex_prefix.py                The kernels: on a CPU, on a GPU, and FlexAttention.
    length_buckets.py             Segments of similar length, for kernels that take padded rows.
    head.py                       Log-probability and entropy in chunks of the vocabulary.
    forward.py                    Dtypes, sharded weights, positions, image features, logits.
    prefix_cache.py               The cache of sampling, which holds a prompt once for its group.
    static_cache.py               The same with fixed shapes, for CUDA graphs.
    vision_tower.py               The vision tower of Qwen-VL: patches and attention in fewer calls.
    rms_norm.py,
    float32_linear.py             Norms and linear layers that are faster in float32 on a CPU.
    float32_attention.py          Attention in float32 while the rest computes in bfloat16.
    sharding.py,
    gloo_communication.py         Weights that are sharded over processes with FSDP2.
    remote_code.py                Refuses checkpoints with Python code that is not trusted.
    packing.py                    Batches for supervised training (cold start).
    adapter.py                    LoRA: what is trained, merged, saved and switched off.
    flops.py                      Floating-point operations of a forward pass.
    tiny.py, tiny_qwen3_vl/       The small Qwen3-VL that ships with the package.
    tiny_text.py, hard_gym/       A smaller one for prompts without images, which ships as well.

In: `Prompt` records and completions. Out: `PromptBatch`, and `logprobs` and `entropy` of shape
[completions, tokens] in nats. Start with `stats.py`, then `shared_prefix.py`.
"""
