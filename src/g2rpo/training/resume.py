"""Resuming. LoRA checkpoints store only the adapter and a fingerprint of the base weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from g2rpo.benchmark.evaluation.suite import weights_digest
from g2rpo.files import finish_replacing
from g2rpo.policy.adapter import adapter_settings, has_adapter, is_adapter
from g2rpo.training.run_folder import LAST

PREFIX = "policy."
"""Prefix of the policy's weights in the state of the module."""


def resume_checkpoint(resume: str | None, folder: Path) -> Path | None:
    """Return the last checkpoint of the run to resume, or None for a new run.

    Raises:
        ValueError: if the folder holds no checkpoint, or is not the folder this run writes to.
    """
    if resume is None:
        return None
    if resume == LAST and not (folder / "checkpoints" / "last.ckpt").exists():
        raise ValueError(
            "resume=last: expected an unfinished run with checkpoints/last.ckpt in outputs/, got"
            " none; name its folder"
        )
    resume = str(folder) if resume == LAST else resume
    last = finish_replacing(Path(resume) / "checkpoints" / "last.ckpt")
    if not last.exists():
        raise ValueError(
            f"resume: expected a run folder with checkpoints/last.ckpt, got {resume!r}; leave"
            " resume out to start a new run"
        )
    if Path(resume).resolve() != folder.resolve():
        raise ValueError(
            f"resume={resume}: a resumed run writes to its own folder; leave hydra.run.dir out"
        )
    return last


def refuse_other_tasks(before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse to resume with other tasks: moments, counts and metrics are kept by task.

    Raises:
        ValueError: with the difference, if the tasks or their order are not the same.
    """
    if list(before) == list(now):
        return
    gone = [task for task in before if task not in now]
    new = [task for task in now if task not in before]
    difference = "; ".join(
        words
        for words in (
            f"{', '.join(gone)} missing" if gone else "",
            f"{', '.join(new)} new" if new else "",
        )
        if words
    )
    raise ValueError(
        f"resume: expected the tasks of the run to resume, {', '.join(before)}; got"
        f" {', '.join(now)} ({difference or 'in another order'}). Give it the same data and"
        " task_mix, or start a new run from its checkpoints/final with model.path."
    )


def refuse_lost_state(key: str, part: Any, state: Mapping[str, Any]) -> None:
    """Refuse to resume with a choice that does not find its state in the checkpoint.

    Args:
        key: Key of the choice, such as `curriculum`.
        part: What was chosen.
        state: What the checkpoint holds for this key.

    Raises:
        ValueError: with what is missing.
    """
    missing = sorted(part.state_dict().keys() - state.keys())
    if missing:
        raise ValueError(
            f"resume: expected the {key} of the run to resume, got {type(part).__name__}, whose"
            f" state ({', '.join(missing)}) is not in its checkpoint; set the same {key}, or start"
            " a new run from its checkpoints/final with model.path"
        )


def load_part(key: str, part: Any, state: Mapping[str, Any]) -> None:
    """Restore the advantage or the shaping from its state in a checkpoint.

    Raises:
        ValueError: if it does not find its state.
    """
    if key != "shaping":  # it reads old checkpoints without a state, and refuses others itself
        refuse_lost_state(key, part, state)
    part.load_state_dict(state)


def keep_adapter(checkpoint: dict[str, Any], policy: Any) -> None:
    """Replace the frozen weights in a checkpoint by their fingerprint, if there is an adapter."""
    checkpoint["adapter"] = adapter_settings(policy)
    if has_adapter(policy):
        checkpoint["adapter"]["base"] = _base_digest(policy)
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if is_adapter(name)
        }


def restore_base(checkpoint: dict[str, Any], policy: Any) -> None:
    """Add the frozen weights of the policy to a checkpoint that holds only the adapter.

    Raises:
        ValueError: if the run that wrote the checkpoint had another adapter or other base weights.
    """
    found, own = dict(checkpoint.get("adapter", {})), adapter_settings(policy)
    base = found.pop("base", None)
    if found != own:
        raise ValueError(
            f"resume: expected {_words(found)} as in the run to resume, got {_words(own)}; set the"
            " same model.adapter"
        )
    if not own:
        return
    if base != (here := _base_digest(policy)):
        raise ValueError(
            f"resume: expected the base weights that the adapter was trained on ({base}), got"
            f" others in model.path ({here}); set model.path to the checkpoint it started from"
        )
    if None in checkpoint["state_dict"].values():
        return  # sharded: the strategy reads only the adapter
    frozen = {
        PREFIX + name: value for name, value in policy.state_dict().items() if not is_adapter(name)
    }
    checkpoint["state_dict"] = frozen | checkpoint["state_dict"]


def _base_digest(policy: Any) -> str:
    """Return the fingerprint of the frozen weights; computed once, because they do not change."""
    if policy not in _digests:
        _digests[policy] = weights_digest(
            (name, value) for name, value in policy.named_parameters() if not is_adapter(name)
        )
    return _digests[policy]


_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def _words(settings: dict[str, Any]) -> str:
    return (
        "an adapter with " + ", ".join(f"{name} {value:g}" for name, value in settings.items())
        if settings
        else "no adapter"
    )
