"""Starts a program: help, composition, and lines that say what runs and where it writes."""

import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from g2rpo.cli.attendance import among_ranks, take_part
from g2rpo.cli.errors import (
    failed,
    give_errors_back,
    quiet_log_files,
    sentence,
    take_errors_from_hydra,
)
from g2rpo.cli.helptext import help_text
from g2rpo.launch.meeting import is_first
from g2rpo.paths import CONF
from g2rpo.redaction import redact_logs, redacted
from g2rpo.training.run_folder import run_folder

OmegaConf.register_new_resolver("run_folder", run_folder, replace=True)
Task = Callable[[DictConfig], Any]


def program(config_name: str) -> Callable[[Task], Callable[[], None]]:
    """Decorate the task of a script: `hydra.main` over `conf/<config_name>.yaml` with short help
    and short errors.

    Args:
        config_name: Name of the program's own configuration, without `.yaml`.
    """

    def decorate(task: Task) -> Callable[[], None]:
        @functools.wraps(task)
        def begun(cfg: DictConfig) -> Any:
            give_errors_back()
            redact_logs()
            quiet_log_files()
            take_part(cfg)
            _announce(cfg)
            return task(cfg)

        @functools.wraps(task)
        def main() -> None:
            if {"--help", "-h"} & set(sys.argv[1:]):
                sys.stdout.write(help_text(config_name))
                return
            run = hydra.main(config_path=CONF, config_name=config_name, version_base="1.3")(begun)
            try:
                with among_ranks():
                    _run(run, config_name)
            except KeyboardInterrupt:  # before a run hears signals by itself
                sys.stderr.write("stopped by SIGINT\n")
                sys.exit(128 + signal.SIGINT)

        return main

    return decorate


def _run(composed_and_called: Callable[[], None], config_name: str) -> None:
    """Run the program; an error of the composition ends it with one sentence and exit code 1."""
    if not take_errors_from_hydra():
        composed_and_called()
        return
    try:
        composed_and_called()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        from g2rpo.cli.keys import explanation

        text = explanation(error, config_name, sys.argv[1:]) or sentence(error)
        if not failed(text, error):
            sys.stderr.write(f"{text}\n")
        sys.exit(1)
    finally:
        give_errors_back()


def _announce(cfg: DictConfig) -> None:
    """Print the run folder and the choices before heavy imports; only the first process prints."""
    if not is_first() or not HydraConfig.initialized():
        return
    settings = HydraConfig.get()
    choices = {
        key: value
        for key, value in reversed(settings.runtime.choices.items())
        if not key.startswith("hydra/") and "@eval." not in key and value is not None
    }
    typed = [str(word) for word in OmegaConf.to_container(settings.overrides.task) or ()]
    lines = [f"run folder: {Path(cfg.run_dir).resolve()}"]
    lines += (
        [f"choices: {' '.join(f'{key}={value}' for key, value in choices.items())}"]
        if choices
        else []
    )
    lines += [f"overrides: {' '.join(typed)}"] if typed else []
    sys.stdout.write(redacted("\n".join(lines)) + "\n")
    sys.stdout.flush()
