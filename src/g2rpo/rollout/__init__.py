"""Rollouts: from prompts to scored groups of completions.

    collect.py            The loop of a step: generate, score, replace groups without a signal.
    groups.py             Groups of completions: generated, scored, selected and joined.
    hf.py                 Engine `rollout=hf`: the policy itself, in the trainer's process.
    vllm.py               Engine `rollout=vllm`: vLLM on the trainer's devices. `vllm_host.py` holds
                          vLLM, `vllm_subprocess.py` runs it in a subprocess (`vllm_worker.py`),
                          `vllm_sleep.py` frees its GPU memory during updates.
    vllm_server.py        Engine `rollout=vllm_server`: vLLM servers over HTTP (`vllm_client.py`).
                          `serve.py` starts a server.
    vllm_settings.py      Settings of both: the keys `rollout.*`.
    vllm_requests.py      Prompts to requests for vLLM, and answers to `Rollouts`.
    sync_probe.py         Verifies after every weight sync that an engine holds the trainer's
                          weights.

An engine implements `g2rpo.interfaces.RolloutEngine`; one with its own copy of the weights also
implements `OwnWeights`. In: `PromptBatch`. Out: `Rollouts` and `Scores`. Start with `collect.py`.
"""
