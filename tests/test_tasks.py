import pytest

from g2rpo.tasks import checked_task, in_order, of_task


@pytest.mark.parametrize("name", ["gui", "ocr, handwritten", "gui/click", "\u6570\u5b66", 3])
def test_any_printable_name_is_a_task(name: object) -> None:
    assert checked_task(f" {name}\t") == str(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("  ", "expected the name of a task in printable characters, got '  '"),
        ("two\nlines", "expected the name of a task in printable characters"),
        ("default", "got 'default', which stands for all other tasks; rename it"),
        ("macro", "got 'macro', which stands for the mean over tasks; rename it"),
    ],
)
def test_a_name_that_is_none_is_refused_with_its_place(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^there: .*{message.removeprefix('expected ')}"):
        checked_task(name, "there")


def test_tasks_are_ordered_as_named_and_then_alphabetically() -> None:
    assert in_order({"b", "a", "d", "c"}, ["d", "x", "b", "d"]) == ("d", "b", "a", "c")


def test_a_task_that_is_named_does_not_take_the_default() -> None:
    values = {"math": None, "default": 2}
    assert (of_task(values, "math", 7), of_task(values, "gui", 7)) == (None, 2)
