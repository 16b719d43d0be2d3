"""The line that a person watches: its numbers, and its two forms."""

import io
import re
from typing import Any

import lightning as L
import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from g2rpo.metrics import BY_NAME, metric_of
from g2rpo.training import display
from g2rpo.training.display import Display, progress_bar
from g2rpo.training.progress import NUMBERS, TIMES, Progress, mean_over_tasks, numbers_line

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
"""Lightning asks PyTorch's tree functions in a way that newer versions advise against."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Logs(L.LightningModule):
    """Logs what a step of training logs, with numbers that depend on the step, and takes two
    optimizer steps a batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        optimizer = self.optimizers()
        for _ in range(2):
            optimizer.zero_grad()
            self.manual_backward(self.weight.sum())
            optimizer.step()
        self.log("reward/total", 0.1 * (batch_idx + 1))
        self.log_dict(
            {
                "reward/accuracy/math": 0.5,
                "reward/accuracy/chart": 0.2 * batch_idx,
                "time/rollout_s": 0.8,
                "time/update_s": 1.14,
            }
        )

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def clock_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `Display` reads; set `clock_s[0]` to move it."""
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def plain_console() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=40), file


def trained(console: Console, *, every_s: float) -> None:
    trainer = L.Trainer(
        max_steps=6,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[Progress(every_s=every_s, console=console)],
    )
    trainer.fit(Logs(), DataLoader(torch.zeros(10, 1)))


def test_every_number_on_the_line_is_a_declared_metric() -> None:
    assert [
        metric_of(f"{name}/math" if BY_NAME[name].per_task else name).name
        for name in (*NUMBERS, *TIMES)
    ] == [*NUMBERS, *TIMES]


def test_a_line_holds_the_means_over_the_tasks_that_are_present() -> None:
    metrics = {
        "reward/total": torch.tensor(0.613),
        "reward/accuracy/math": 0.25,
        "reward/accuracy/spatial": 0.75,
        "reward/accuracy/grounding": 0.65,
        "policy/entropy_nats/math": 0.4,
        "policy/entropy_nats/chart": 0.425,
        "rollout/completion_tokens/math": 30.0,
        "rollout/completion_tokens/chart": 17.0,
        "loss/clip_frac": 0.0123,
        "time/rollout_s": 0.84,
        "time/update_s": 1.06,
    }
    expected = (
        "reward 0.61 | acc 0.55 | entropy 0.41 nats | 24 tokens | clip 1.2% | rollout 0.8 s, update"
        " 1.1 s"
    )
    assert numbers_line(metrics) == expected


def test_a_task_without_a_finite_number_takes_no_part_in_the_mean() -> None:
    assert (
        mean_over_tasks(
            {"reward/accuracy/math": float("nan"), "reward/accuracy/chart": 0.25}, "reward/accuracy"
        )
        == 0.25
    )


def test_numbers_of_another_training_are_shown_once_under_their_own_name() -> None:
    also = {"loss/nats_per_token": torch.tensor(0.12345), "reward/total": 0.5}
    assert (
        numbers_line({"reward/total": 0.5}, also=also) == "reward 0.50 | loss/nats_per_token 0.1235"
    )


def test_time_left_follows_from_the_mean_speed_since_the_start_or_resume(
    clock_s: list[float],
) -> None:
    display = Display(name="step", total=120, every_s=10, console=plain_console()[0], done=20)
    clock_s[0] += 38.0
    display.update(40, "reward 0.61")
    # 20 steps took 38 s, so the 80 to go take 152 s
    assert display.line() == "step 40/120 | reward 0.61 | 0:02:32 left"


def test_a_log_gets_the_first_the_last_and_now_and_then_a_line(clock_s: list[float]) -> None:
    console, file = plain_console()
    with progress_bar("held-out prompt", total=18, every_s=10, console=console) as advance:
        for _ in range(9):
            clock_s[0] += 4.0
            advance(2)
    # lines at the first, then when 10 s have passed since the last line: after 4, 16, 28 s, and at
    # the end
    assert [line.split(" | ")[0] for line in file.getvalue().splitlines()] == [
        f"held-out prompt {n}/18" for n in (2, 8, 14, 18)
    ]


def test_a_log_gets_no_control_characters_and_no_broken_lines() -> None:
    console, file = plain_console()
    trained(console, every_s=0.0)
    lines = file.getvalue().splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["step 2/6", "step 4/6", "step 6/6"]
    assert lines[0].startswith("step 2/6 | reward 0.10 | acc 0.25 | rollout 0.8 s, update 1.1 s | ")
    assert lines[2].startswith("step 6/6 | reward 0.30 | acc 0.45 | rollout 0.8 s, update 1.1 s")
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", file.getvalue()) is None


def test_forced_colours_do_not_bring_control_characters_into_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console, file = plain_console()
    with progress_bar("held-out prompt", total=2, console=console) as advance:
        advance(2)
    assert file.getvalue() == "held-out prompt 2/2 | 0:00:00 left\n"


def test_a_terminal_gets_a_bar_that_ends_at_the_last_step() -> None:
    file = Terminal()
    trained(Console(file=file, width=110, force_terminal=True, legacy_windows=False), every_s=0.0)
    last = (
        re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
        .replace("\r", "\n")
        .rstrip()
        .splitlines()
    )
    assert any("6/6" in line and "━" in line for line in last[-3:])
    assert last[-1].strip() == "reward 0.30 | acc 0.45 | rollout 0.8 s, update 1.1 s"


def test_a_failing_stage_gives_the_terminal_back() -> None:
    file = Terminal()
    console = Console(file=file, width=80, force_terminal=True, legacy_windows=False)
    with (
        pytest.raises(RuntimeError, match="stop"),
        progress_bar("held-out prompt", total=3, console=console),
    ):
        raise RuntimeError("stop")
    assert file.getvalue().rindex("\x1b[?25h") > file.getvalue().rindex(
        "\x1b[?25l"
    )  # the cursor is shown again


def test_a_disabled_bar_says_nothing() -> None:
    console, file = plain_console()
    bar = Progress(every_s=0.0, console=console)
    bar.disable()
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[bar],
    )
    trainer.fit(Logs(), DataLoader(torch.zeros(4, 1)))
    assert file.getvalue() == ""


def test_a_negative_interval_is_refused() -> None:
    with pytest.raises(ValueError, match=r"progress.every_s: expected 0 or more .* got -1"):
        Display(name="step", total=None, every_s=-1, console=plain_console()[0])
