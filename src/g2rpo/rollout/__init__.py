"""Rollouts: prompts go in, judged groups of completions come out.

    collect.py        The loop of a step: generate, judge, and replace groups that teach nothing.
    groups.py         Which groups are kept (the online filter).
    score.py          Completions -> scores, through the reward; failures are counted and bounded.
    hf.py             Engine: the policy itself, in the trainer's process.
    vllm.py           Engine: vLLM on the trainer's devices. `vllm_subprocess.py` runs it in a child
                      process, `vllm_sleep.py` gives GPU memory back during updates.
    vllm_server.py    Engine: vLLM servers over HTTP.
    sync_probe.py     The proof, after every weight sync, that an engine holds the trainer's
                      weights.

An engine implements `g2rpo.interfaces.RolloutEngine`; one that holds weights of its own also
implements `OwnWeights`. Start with `collect.py`.
"""
