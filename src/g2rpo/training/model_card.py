"""The model card of `checkpoints/final`: data, recipe, scores and versions of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData
from omegaconf import DictConfig

from g2rpo.files import write_whole
from g2rpo.redaction import redacted_values
from g2rpo.training.parts import plain

RECIPE = (
    "advantage",
    "loss",
    "reward",
    "shaping",
    "filter",
    "batch",
    "optimizer",
    "lr_scheduler",
    "max_grad_norm",
    "seed",
)
"""Groups and keys that the card lists."""
USE = """\
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("<this repository or folder>")
processor = AutoProcessor.from_pretrained("<this repository or folder>")
```
"""


def write_card(folder: Path, cfg: DictConfig, summary: Mapping[str, Any]) -> None:
    """Write `README.md` into the folder of a checkpoint.

    Args:
        folder: Folder in the format of transformers, or of peft if it has `adapter_config.json`.
        cfg: The configuration of the run.
        summary: What the run writes into `summary.json`.
    """
    is_adapter = (folder / "adapter_config.json").is_file()
    write_whole(folder / "README.md", model_card(plain(cfg), summary, is_adapter=is_adapter))


def model_card(
    cfg: Mapping[str, Any], summary: Mapping[str, Any], *, is_adapter: bool = False
) -> str:
    """Return the card. Of local paths it shows the names alone, and no keys or tokens."""
    settings = redacted_values(dict(cfg))
    model, data = settings["model"], settings["data"]
    base = str(model.get("path") or model.get("name"))
    head = ModelCardData(
        base_model=base if _is_hub_id(base) else None,
        datasets=[data["path"]] if _is_hub_id(str(data.get("path"))) else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        tags=["g2rpo", "grpo", "reinforcement-learning"],
    )
    recipe = yaml.safe_dump(
        {key: _public(settings[key]) for key in RECIPE if settings.get(key) is not None},
        sort_keys=False,
    )
    sections = [
        f"---\n{head.to_yaml()}\n---\n\n# {_shown(base)}, trained with G2RPO\n\n"
        f"{'A LoRA adapter of' if is_adapter else 'Weights of'} `{_shown(base)}` after"
        f" {summary['steps']} optimizer steps of reinforcement learning with"
        " [g2rpo](https://arxiv.org/abs/2604.08539).\n",
        f"## Data\n\n{_data(data, summary)}",
        f"## Scores\n\n{_scores(summary)}",
        f"## Recipe\n\n```yaml\n{recipe}```\n",
        f"## Use\n\n{USE}" if not is_adapter else "",
        "## Versions\n\n"
        + ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
        + f"; configuration {summary['config_hash']}\n",
    ]
    return "\n".join(section for section in sections if section)


def _data(data: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    named = data.get("path") or data.get("files") or data.get("_target_")
    listed = [named] if isinstance(named, str) else list(named or ())
    source = ", ".join(f"`{_shown(str(name))}`" for name in listed)
    drawn = [[task, count] for task, count in summary["prompts_drawn"].items()]
    return f"{source}, prompts drawn by task:\n\n{_table(['task', 'prompts'], drawn)}"


def _scores(summary: Mapping[str, Any]) -> str:
    """Return tables of held-out accuracy and of benchmarks; a sentence if nothing was measured."""
    kinds = {"sampled": summary["heldout"], "greedy": summary["heldout_greedy"]}
    columns = [(kind, when) for kind in kinds for when in ("before", "after")]
    tasks = list(dict.fromkeys(task for kind, when in columns for task in kinds[kind][when]))
    rows = [
        ["mean of tasks" if task == "macro" else task]
        + [_number(kinds[kind][when].get(task)) for kind, when in columns]
        for task in sorted(tasks, key=lambda task: task == "macro")
    ]
    found = []
    if rows:
        header = ["held-out accuracy", *(f"{kind} {when}" for kind, when in columns)]
        found.append(_table(header, rows))
    if summary["benchmarks"]:
        entries = [
            [name, _number(entry["score"]), entry["rows"], entry["protocol"], entry["rows_from"]]
            for name, entry in summary["benchmarks"].items()
        ]
        found.append(_table(["benchmark", "score", "rows", "protocol", "rows from"], entries))
    return "\n".join(found) or "Nothing was measured.\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def _public(value: Any) -> Any:
    """Return settings without null values, with the names of files and classes alone."""
    if isinstance(value, Mapping):
        pairs = ((str(name), _public(own)) for name, own in value.items() if own is not None)
        return {"class" if name == "_target_" else name: own for name, own in pairs}
    if isinstance(value, list | tuple):
        return [_public(own) for own in value]
    return _shown(value) if isinstance(value, str) else value


def _shown(text: str) -> str:
    """Return the name of a local path; other texts as they are."""
    return Path(text).name if _is_local(text) else text


def _is_hub_id(text: str) -> bool:
    return text.count("/") == 1 and not _is_local(text)


def _is_local(text: str) -> bool:
    return "/" in text and (text.startswith(("/", ".", "~")) or Path(text).exists())
