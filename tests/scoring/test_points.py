import random
import time

import pytest

from g2rpo.scoring.points import (
    first_point,
    leading_point,
    pixel_areas,
    whole_value,
    xml_points,
)

READERS = (
    first_point,
    leading_point,
    xml_points,
    lambda text: pixel_areas(text, 640, 480),
)


@pytest.mark.parametrize(
    ("text", "areas"),
    [
        ("(350, 230)", [(350, 230, 351, 231)]),
        ("(0.5, 1)", [(320, 480, 321, 481)]),
        ("(0.25, 0.5, 0.5, 0.75)", [(160, 240, 320, 360)]),
        ("[(0.1, 0.1), (10, 20, 30, 40)]", [(64, 48, 65, 49), (10, 20, 30, 40)]),
        ("(30, 20, 10, 40)", None),
        ("(1, 2, 3), [4, 5], ()", []),
        ('[{"point": [480, 550]}]', [(352, 230, 353, 231)]),
    ],
)
def test_pixel_areas_of_640_by_480(
    text: str, areas: list[tuple[int, int, int, int]] | None
) -> None:
    assert pixel_areas(text, 640, 480) == areas


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ('so {"label": "a", "point_2d": [900, 100]} and (1, 2)', (0.9, 0.1)),
        ('not (1, 2) but {"point_2d": [900, 100]}', (0.9, 0.1)),
        ("I say [0.2, 0.9], not (0.4, 0.4)", (0.2, 0.9)),
        ("(1.6, 1.0)", (0.0016, 0.001)),
        ("(1.5, 1.0)", (1.5, 1.0)),
        ("(1e999, 0.5)", None),
        ("1, 2", (0.001, 0.002)),
        ("1, 2 and 3", None),
        ("x: 50%, y: 25%", (0.5, 0.25)),
        ("y: 0.2, x: 0.4", (0.4, 0.2)),
        ("(0.3 0.6)", (0.3, 0.6)),
        ("[0.1, 0.2, 0.3, 0.6]", (0.2, 0.4)),
        ("<point x='30' y='60'>cup</point>", (0.3, 0.6)),
        ("2 dogs and 3 cats", None),
    ],
)
def test_the_first_point(text: str, point: tuple[float, float] | None) -> None:
    assert first_point(text) == (None if point is None else pytest.approx(point))


def test_the_leading_point_prefers_parentheses_and_scales_nothing() -> None:
    assert leading_point("[0.1, 0.2] or (500, 400)") == (500, 400)


def test_code_is_not_run() -> None:
    assert whole_value("__import__('os').getcwd()") is None
    assert whole_value("[1, *range(3)]") is None
    assert whole_value("\\d") is None


def test_long_and_nested_texts_are_read_in_no_time() -> None:
    rng = random.Random(3)
    alphabets = (
        "(",
        "[",
        "{",
        "1",
        "-",
        "1,",
        "(1,",
        "[1, ",
        '{"point_2d":',
        " ",
        "```",
        "\x00",
        "(1.",
        "9e",
        '<points x1="1" ',
        "'\"[({1, .",
    )
    texts = [alphabet * (100_000 // len(alphabet)) for alphabet in alphabets]
    texts += [
        f"({' ' * 99_990}1",
        f"```a{' ' * 99_990}b",
        "".join(rng.choices('()[]{},.1 "', k=100_000)),
        "-" * 15_000 + "1",
        "(" * 15_000,
    ]
    for text in texts:
        for read in READERS:
            start = time.process_time()
            read(text)
            assert time.process_time() - start < 1
