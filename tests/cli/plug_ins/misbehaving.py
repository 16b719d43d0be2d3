"""A data source, an engine and a loss that misbehave, for the tests of whole runs."""

import dataclasses
import os
import signal
import time
from pathlib import Path

from g2rpo import ranks
from g2rpo.algorithm.loss.clip import ClipLoss
from g2rpo.data.gym.source import GymSource
from g2rpo.records import Prompt
from g2rpo.rollout.hf import HFEngine


class Broken(GymSource):
    """The gym, but the image of every chart prompt is the given file."""

    def __init__(self, *, file: str) -> None:
        super().__init__()
        self.file = file

    def get(self, task: str, index: int, split: str) -> Prompt:
        prompt = super().get(task, index, split)
        images = (self.file,) if task == "chart" else prompt.images
        return dataclasses.replace(prompt, images=images)


class SwitchedOff(HFEngine):
    """An engine that ends the process in the middle of a step, without any clean-up."""

    def __init__(self, *, dies_in_step: int, **options) -> None:
        super().__init__(**options)
        self.left = dies_in_step

    def generate(self, batch, sampling, seed):
        self.left -= 1
        if self.left == 0:
            os._exit(9)
        return super().generate(batch, sampling, seed)


class NoNumber(ClipLoss):
    """A loss that is NaN."""

    def __call__(self, *args, **options):
        value, stats = super().__call__(*args, **options)
        return value * float("nan"), stats


class NoNumberOnOneRank(ClipLoss):
    """A loss that is NaN on one rank, from the third call on."""

    def __init__(self, *, on_rank: int, **options) -> None:
        super().__init__(**options)
        self.on_rank, self.left = on_rank, 3

    def __call__(self, *args, **options):
        value, stats = super().__call__(*args, **options)
        self.left -= 1
        if self.left > 0 or ranks.rank() != self.on_rank:
            return value, stats
        Path("failed").touch()
        return value * float("nan"), stats


class OneRankFails(HFEngine):
    """An engine that on one rank raises, hangs, is killed or is stopped, and waits before.

    It creates the file `failed` in the working directory at this moment.
    """

    def __init__(self, *, how: str, on_rank: int, in_call: int = 2, **options) -> None:
        super().__init__(**options)
        self.how, self.on_rank, self.left = how, on_rank, in_call

    def generate(self, batch, sampling, seed):
        self.left -= 1
        if self.left == 0 and ranks.rank() == self.on_rank:
            Path("failed").touch()
            if self.how == "raise":
                raise ValueError("this engine is broken")
            if self.how == "hang":
                time.sleep(10_000)
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self.how])
        return super().generate(batch, sampling, seed)
