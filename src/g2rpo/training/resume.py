"""Where a killed run goes on, and what of a policy with an adapter is in its checkpoints: the
adapter, and the mark of its base.
"""

from pathlib import Path
from typing import Any

from g2rpo.benchmark.evaluation.suite import weights_digest
from g2rpo.policy.adapter import adapter_settings, has_adapter, is_adapter
from g2rpo.training.run_folder import LAST

PREFIX = "policy."
"""Of the policy's weights in a module that trains it."""


def resume_checkpoint(resume: str | None, folder: Path) -> Path | None:
    """The last checkpoint of the run that is resumed, or None for a new run.

    Raises:
        ValueError: when the folder holds no checkpoint, or the new run would write somewhere else.
    """
    if resume is None:
        return None
    if resume == LAST and not (folder / "checkpoints" / "last.ckpt").is_file():
        raise ValueError(
            "resume=last: found no unfinished run with checkpoints/last.ckpt below outputs/; name"
            " its folder"
        )
    resume = str(folder) if resume == LAST else resume
    last = Path(resume) / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise ValueError(
            f"resume: expected a run folder with checkpoints/last.ckpt, got {resume!r}; start anew"
            " without resume"
        )
    if Path(resume).resolve() != folder.resolve():
        raise ValueError(f"resume={resume} goes on in its own folder; leave hydra.run.dir out")
    return last


def keep_adapter(checkpoint: dict[str, Any], policy: Any) -> None:
    """Leaves the frozen weights out of a checkpoint and writes down what they were; without an
    adapter, everything stays.
    """
    checkpoint["adapter"] = adapter_settings(policy)
    if has_adapter(policy):
        checkpoint["adapter"]["base"] = _base_digest(policy)
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if is_adapter(name)
        }


def restore_base(checkpoint: dict[str, Any], policy: Any) -> None:
    """Completes a checkpoint by the weights that the policy was built with, so that loading it
    misses nothing.

    Raises:
        ValueError: when the policy has another adapter, or was built from other weights, than the
            run that wrote the checkpoint.
    """
    found, own = dict(checkpoint.get("adapter", {})), adapter_settings(policy)
    base = found.pop("base", None)
    if found != own:
        raise ValueError(
            f"resume: the killed run had {_words(found)}, this one has {_words(own)}; start it with"
            " the same model.adapter"
        )
    if not own:
        return
    if base != (here := _base_digest(policy)):
        raise ValueError(
            f"resume: the killed run trained its adapter on other weights ({base}) than model.path"
            f" holds now ({here}); name the checkpoint that it started from"
        )
    frozen = {
        PREFIX + name: value for name, value in policy.state_dict().items() if not is_adapter(name)
    }
    checkpoint["state_dict"] = frozen | checkpoint["state_dict"]


def _base_digest(policy: Any) -> str:
    return weights_digest(
        (name, value) for name, value in policy.named_parameters() if not is_adapter(name)
    )


def _words(settings: dict[str, Any]) -> str:
    return (
        "an adapter with " + ", ".join(f"{name} {value:g}" for name, value in settings.items())
        if settings
        else "no adapter"
    )
