"""Rows of tables: bounded, and of every kind."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from g2rpo.training.tracking.table_rows import chosen_rows, cut, small


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3)), max_size=40), st.integers(0, 5))
def test_no_task_has_more_rows_than_its_quota_and_its_best_and_worst_are_among_them(
    rows: list[tuple[int, float]], quota: int
) -> None:
    tasks, advantages = [task for task, _ in rows], [advantage for _, advantage in rows]
    chosen = chosen_rows(tasks, advantages, quota)
    assert len(set(chosen)) == len(chosen)
    assert Counter(tasks[row] for row in chosen) == Counter(
        {task: min(quota, n) for task, n in Counter(tasks).items() if quota}
    )
    for task in set(tasks) if quota > 1 else ():
        own = [advantages[row] for row in chosen if tasks[row] == task]
        everything = [advantage for other, advantage in rows if other == task]
        assert (max(own), min(own)) == (max(everything), min(everything))


def test_a_small_picture_stays_as_it_is_and_a_file_is_opened(tmp_path: Path) -> None:
    Image.new("L", (30, 300), 7).save(tmp_path / "a.png")
    assert small(tmp_path / "a.png", 100).size == (10, 100)
    assert small(Image.new("RGBA", (30, 20)), 100).size == (30, 20)
    assert small(Image.new("RGBA", (30, 20)), 100).mode == "RGB"


def test_a_short_text_is_not_cut() -> None:
    assert cut("x" * 4000) == "x" * 4000
    assert cut("x" * 4001) == "x" * 4000 + "... (1 more characters)"
