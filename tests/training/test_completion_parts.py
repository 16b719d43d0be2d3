"""Rows of `completions.jsonl` and of its compressed parts, also after a kill at any moment."""

import csv
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from g2rpo.training import completion_parts
from g2rpo.training.completion_parts import CompletionParts, completion_files, opened

PART = 400
STEPS = 23


def rows(step: int) -> list[dict[str, Any]]:
    return [{"step": step, "completion": f"{step}/{i} \u2028 é"} for i in range(3)]


def text_of(steps: int) -> str:
    return "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for s in range(1, steps + 1) for row in rows(s)
    )


def content(folder: Path) -> str:
    texts = []
    for path in completion_files(folder):
        with opened(path) as file:
            texts.append(file.read())
    return "".join(texts)


def written(folder: Path, first: int = 1, last: int = STEPS) -> CompletionParts:
    parts = CompletionParts(folder, PART)
    for step in range(first, last + 1):
        parts.append(rows(step))
    return parts


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_all_rows_are_there_once_and_in_order_however_they_are_divided(tmp_path: Path) -> None:
    written(tmp_path)
    names = [path.name for path in completion_files(tmp_path)]
    assert len(names) > 3
    assert names[-1] == "completions.jsonl"
    assert all(name.endswith(".jsonl.gz") for name in names[:-1])
    assert content(tmp_path) == text_of(STEPS)


def test_the_index_says_which_steps_a_part_holds_and_how_large_it_is(tmp_path: Path) -> None:
    written(tmp_path)
    with (tmp_path / "completions" / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert [row["file"] for row in index] == [p.name for p in completion_files(tmp_path)[:-1]]
    for row in index:
        with opened(tmp_path / "completions" / row["file"]) as file:
            lines = file.readlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert (int(row["first_step"]), int(row["last_step"])) == (steps[0], steps[-1])
        assert (int(row["rows"]), int(row["bytes"])) == (
            len(lines),
            len("".join(lines).encode()),
        )


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_run_resumed_at_any_step_ends_with_the_same_files(tmp_path: Path, step: int) -> None:
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    for folder in (broken, unbroken):
        folder.mkdir()
        written(folder)
    with (broken / "completions.jsonl").open("a") as file:
        file.write('{"step": 24, "comp')  # cut by a kill
    CompletionParts(broken, PART).forget_after(step)
    assert content(broken) == text_of(step)
    written(broken, step + 1)
    assert files(broken) == files(unbroken)


class Killed(BaseException):
    """Stands for a kill: no handler runs after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Kill before (even) or after (odd) one of the file operations that follow."""
    count = 0

    def watched(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            now, count = count, count + 2
            if now == moment:
                raise Killed
            result = operation(*args, **options)
            if now + 1 == moment:
                raise Killed
            return result

        return call

    for name in ("rename", "replace", "unlink", "touch"):
        monkeypatch.setattr(Path, name, watched(getattr(Path, name)))
    monkeypatch.setattr(
        completion_parts.shutil, "copyfileobj", watched(completion_parts.shutil.copyfileobj)
    )


def all_moments(
    tmp_path: Path, before: Callable[[Path], None], act: Callable[[Path], None], step: int
) -> int:
    """Kill at every moment of `act`, resume at a step, and return how many moments there were."""
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    written(unbroken)
    moment = 0
    while True:
        folder = tmp_path / str(moment)
        folder.mkdir()
        before(folder)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, moment)
            ended = False
            with suppress(Killed):
                act(folder)
                ended = True
        if ended:
            return moment
        CompletionParts(folder, PART).forget_after(step)
        assert content(folder) == text_of(step), moment
        written(folder, step + 1)
        assert files(folder) == files(unbroken), moment
        moment += 1


@pytest.mark.parametrize("step", [6, 12, 13])
def test_a_kill_while_a_part_is_made_loses_nothing(tmp_path: Path, step: int) -> None:
    def act(folder: Path) -> None:
        written(folder, 13, STEPS)

    assert all_moments(tmp_path, lambda folder: written(folder, 1, 12) and None, act, step) > 12


def test_a_kill_while_a_run_is_resumed_loses_nothing(tmp_path: Path) -> None:
    def act(folder: Path) -> None:
        CompletionParts(folder, PART).forget_after(9)

    assert all_moments(tmp_path, lambda folder: written(folder) and None, act, 9) > 12


def test_a_new_run_in_an_old_folder_keeps_no_part(tmp_path: Path) -> None:
    written(tmp_path)
    CompletionParts(tmp_path, PART).forget_after(0)
    assert content(tmp_path) == ""
    assert [p.name for p in (tmp_path / "completions").iterdir()] == ["index.csv"]
