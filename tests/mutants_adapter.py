"""Bugs in adapters: what is trained, what is merged, what a checkpoint holds."""

from mutant import Mutant

ADAPTER, RESUME, RUN = "model/adapter.py", "training/resume.py", "training/module.py"
T_ADAPTER, T_TRAINED = "model/test_adapter.py", "training/test_adapter.py"

ADAPTER_MUTANTS = (
    Mutant("adapter: merged without rounding once", ADAPTER, "(weight.float() + layer.get_delta_weight(ADAPTER)).to(weight.dtype)",
           "weight + layer.get_delta_weight(ADAPTER).to(weight.dtype)", T_ADAPTER),
    Mutant("adapter: engines get the base", ADAPTER, 'if inside and what == "weight":', "if False:", T_ADAPTER),
    Mutant("adapter: the whole model is trained", ADAPTER, "parameter.requires_grad_(is_adapter(name))",
           "parameter.requires_grad_(True)", T_ADAPTER),
    Mutant("adapter: in the model's dtype", ADAPTER, "parameter.data = parameter.data.float()", "pass", T_ADAPTER),
    Mutant("adapter: a seed of no effect", ADAPTER, "manual_seed(self.seed)", "manual_seed(0)", T_ADAPTER),
    Mutant("adapter: stays off after the reference", ADAPTER, "layer.enable_adapters(True)", "pass", T_ADAPTER),
    Mutant("adapter: the reference is the policy", RUN, "with adapter_off(model):", "with nullcontext():", T_TRAINED),
    Mutant("adapter: checkpoints hold the base", RESUME, "checkpoint[\"state_dict\"].items() if is_adapter(name)}",
           "checkpoint[\"state_dict\"].items()}", T_TRAINED),
    Mutant("adapter: any base will do", RESUME, "if base != (here := _base_digest(policy)):",
           "if not (here := _base_digest(policy)):", T_TRAINED),
    Mutant("adapter: a resumed run forgets it", RESUME, "frozen | checkpoint[\"state_dict\"]",
           "{PREFIX + name: value for name, value in policy.state_dict().items()}", T_TRAINED),
)  # fmt: skip
