"""Rollouts: from prompts to scored groups of completions.

    collect.py            The loop of a step: generate, score, replace groups without a signal.
    kept_groups.py        The groups that a step learns from, and how many prompts that takes.
    groups.py             Groups of completions: generated, scored, selected and joined.
    ahead.py              The next batches, generated and scored while the trainer learns;
                          `in_flight.py` is one of them.
    draw.py               The randomness of sampling, the same on any number of ranks.
    hf.py                 Engine `rollout=hf`: the policy itself, in the trainer's process.
                          `tail.py` calls it for single tokens, `step_graph.py` makes a decoding
                          step a CUDA graph.
    vllm.py               Engine `rollout=vllm`: vLLM on the trainer's devices. `vllm_host.py` holds
                          vLLM, `vllm_subprocess.py` runs it in a subprocess (`vllm_worker.py`),
                          `vllm_sleep.py` frees its GPU memory during updates, `vllm_messages.py`
                          are its requests and answers.
    vllm_server.py        Engine `rollout=vllm_server`: vLLM servers over HTTP (`vllm_client.py`).
                          `serve.py` starts a server; `turns.py` lets requests end before its
                          weights change.
    vllm_base.py          What both share: when weights are sent and verified.
    vllm_process.py       Engine processes that the trainer starts, watches and ends.
    vllm_retry.py         Restarts engines that died, and requests lost prompts again.
    weights_folder.py,
    serving_folder.py     Folders with weights for engines: where they are, and what is in them.
    vllm_settings.py      Settings of both: the keys `rollout.*`.
    vllm_requests.py      Prompts to requests for vLLM, and answers to `Rollouts`.
    sync_probe.py         Verifies after every weight sync that an engine holds the trainer's
                          weights.

An engine implements `g2rpo.interfaces.RolloutEngine`; one with its own copy of the weights also
implements `OwnWeights`. In: `PromptBatch`. Out: `Rollouts` and `Scores`. Start with `collect.py`.
"""
