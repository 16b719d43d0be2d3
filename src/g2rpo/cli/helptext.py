"""`--help` of every program: ten commands, the groups with their choices, the main numbers.

All of it is read from `conf/`: a choice is a file, a group is described by its comment in
`conf/config.yaml`, and a number by the comment beside it. The files are read as text, because
composing the configuration would make `--help` slow.
"""

import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

from g2rpo.paths import CONF

WIDTH = 100
COMMANDS = (
    ("train.py", "the demo: minutes on a laptop, no GPU"),
    ("train.py experiment=smoke", "three small steps: does everything run?"),
    ("preview.py data=jsonl data.files=rows.jsonl", "look at the data first"),
    ("estimate.py model=qwen3_vl_8b trainer=ddp", "will it fit, and how long is a step?"),
    ("pilot.py", "propose shaping bands for this model"),
    ("train.py advantage=grpo seed=1", "another estimator, another seed"),
    ("train.py -m advantage=g2rpo,grpo seed=0,1,2", "six runs and a page that compares them"),
    ("evaluate.py model=folder model.path=FOLDER", "held-out scores of a checkpoint"),
    ("evaluate.py eval=suite18 eval.rows=demo", "the 18 benchmarks, on rows that ship along"),
    ("rescore.py source=RUN eval.protocol=robust", "judge saved answers again"),
)
NUMBERS = (
    ("trainer", "max_steps"),
    ("trainer", "devices"),
    ("optimizer", "lr"),
    ("batch", "prompts_per_step"),
    ("batch", "group_size"),
    ("batch", "num_minibatches"),
    ("batch", "micro_batch_tokens"),
    ("rollout", "max_new_tokens"),
    ("rollout", "temperature"),
    ("loss", "clip_ratio_high"),
    ("loss", "kl_coef"),
    ("heldout", "prompts_per_task"),
    ("eval", "limit"),
    ("eval", "max_new_tokens"),
    ("", "max_grad_norm"),
    ("", "seed"),
)
"""Group and key of the numbers that users change first."""
_DEFAULT = re.compile(r"^  - (?:override )?([\w/]+): \[?(\w+)\]? *(?:# *(.*))?$", re.MULTILINE)


def help_text(config_name: str) -> str:
    """Return the text of `--help` for the program with the configuration `<config_name>.yaml`."""
    conf = Path(CONF)
    own = "" if config_name == "config" else _own_keys(conf / f"{config_name}.yaml")
    if config_name == "cold_start":
        return (
            f"{sys.argv[0]} [key=value ...]\n\n{own}\nmodel=, trainer=, stages= choose as in"
            " train.py --help.\n"
        )
    commands = [f"  python {command:<46} # {words}" for command, words in COMMANDS]
    return "\n".join(
        [
            (
                f"{Path(sys.argv[0]).name} [group=choice ...] [key=value ...]   (python X.py and"
                " g2rpo X are the same)"
            ),
            "",
            *commands,
            "",
            *([own] if own else []),
            "Groups: name, what it decides, and its choices (the default first)",
            *_groups(conf),
            "",
            (
                "Numbers: key, default and unit; every other key: --cfg job, documented in the"
                " files of conf/"
            ),
            *_numbers(conf),
            "",
            (
                "-m sweeps over a,b,c   -cd DIR adds your own choices   hydra.run.dir=DIR chooses"
                " the run folder"
            ),
            "",
        ]
    )


def _groups(conf: Path) -> list[str]:
    """Return one entry per group of `config.yaml`, and per group inside another."""
    found = [
        (group, default, words)
        for group, default, words in _DEFAULT.findall(_text(conf / "config.yaml"))
        if "hydra/" not in group
    ]
    found += [
        ("shaping/length", "", "reward for a fitting length"),
        ("shaping/entropy", "", "loss outside an entropy band"),
        ("model/adapter", "", "what is trained instead of all weights"),
        ("rows", "hub", "where benchmark rows come from (eval.rows=NAME)"),
        ("benchmark", "", "what eval.benchmarks=[mmmu,...] may list"),
    ]
    lines = []
    for group, default, words in found:
        names = sorted(choices(group, conf), key=lambda name: (name != default, name))
        text = f"{words + ': ' if words else ''}{', '.join(names)}"
        lines += textwrap.wrap(f"  {group:<17} {text}", WIDTH, subsequent_indent=" " * 20)
    return lines


def choices(group: str, conf: Path) -> set[str]:
    """Return the names of the choices of a group, including those of `--config-dir`."""
    folders = [conf, *_config_dirs(sys.argv[1:])]
    return {
        file.stem
        for folder in folders
        for file in (folder / group).glob("*.yaml")
        if not file.stem.startswith("_")
    }


def _config_dirs(words: list[str]) -> list[Path]:
    pairs = [
        *pairwise([*words, ""]),
        *(tuple(word.partition("=")[::2]) for word in words),
    ]
    return [Path(value) for name, value in pairs if name in ("-cd", "--config-dir") and value]


def _numbers(conf: Path) -> list[str]:
    """Return lines with key, default and comment, from the yaml files of the default choices."""
    chosen = {group: default for group, default, _ in _DEFAULT.findall(_text(conf / "config.yaml"))}
    lines = []
    for group, key in NUMBERS:
        value, words = _value(conf, group, chosen.get(group), key)
        if "${" in value:
            value, words = "...", f"{words}; default: {_in_words(value)}"
        words = textwrap.shorten(words, WIDTH - 38, placeholder=" ...")
        lines.append(f"  {f'{group}.{key}' if group else key:<26} {value:<8} {words}".rstrip())
    return lines


def _in_words(interpolation: str) -> str:
    """Say where an interpolated default comes from."""
    selected = re.fullmatch(r"\$\{oc\.select:([\w.]+),(\w+)\}", interpolation)
    return f"{selected[1]}, else {selected[2]}" if selected else interpolation.strip("${}")


def _value(conf: Path, group: str, choice: str | None, key: str) -> tuple[str, str]:
    """Return value and comment of a key; raise `LookupError` if no file contains it."""
    files = [conf / "config.yaml"]
    if choice is not None:
        own = [conf / group / f"{choice}.yaml", *sorted((conf / group).glob("_*.yaml"))]
        files = [file for file in own if file.is_file()]
    for file in files:
        match = re.search(rf"^ *{key}: *([^#\n]*?),? *(?:# *(.*))?$", _text(file), re.MULTILINE)
        if match:
            return match[1], match[2] or ""
    raise LookupError(f"{group}.{key} is in none of {', '.join(map(str, files))}")


def _own_keys(file: Path) -> str:
    """Return the keys that a program has in addition to those of `config.yaml`, with comments."""
    lines = [
        line
        for line in _text(file).splitlines()
        if not line.startswith(("#", "defaults", "  - ", "hydra", "  run"))
    ]
    lines = [re.sub(r" {3,}#", "   #", line) for line in lines]
    return (
        "\n".join(
            f"  {line}" if len(line) < WIDTH - 2 else f"  {line[: WIDTH - 6]} ..." for line in lines
        )
        + "\n"
    )


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")
