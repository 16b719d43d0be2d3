import time

import pytest

from g2rpo.scoring.boxes import first_box, guessed_pixels, hits, loose_box, strict_box

A, B = (10.0, 20.0, 30.0, 40.0), (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("text", "strict", "loose", "first"),
    [
        ('<answer>{"boxes": [10, 20, 30, 40]}</answer>', A, A, A),
        (
            (
                '<answer>{"boxes": ["10", 20.0, 3e1, 40]}</answer><answer>{"boxes": [1, 2, 3,'
                " 4]}</answer>"
            ),
            A,
            B,
            A,
        ),
        ('see {"boxes": [10, 20, 30, 40]}', None, A, A),
        ('<answer>{"boxes": [[10, 20, 30, 40], [1, 2, 3, 4]]}</answer>', None, A, A),
        ("<answer>{'bbox_2d': (10, 20, 30, 40)}</answer>", None, (2.0, 10.0, 20.0, 30.0), A),
        ("[5, 6] then [10 20,30 40]", None, A, A),
        ('{"point": [1, 2, 3, 4], "bbox": [10, 20, 30, 40]}', None, B, A),
        ("x 10 y 20 x 30 y 40", None, A, A),
        ('{"boxes": [10, 20, 30, NaN]}', None, None, None),
        ('{"boxes": [10, 20, 30, 1e999]}', None, None, None),
        ("[10, 20, 30]", None, None, None),
        ("", None, None, None),
    ],
)
def test_three_ways_of_reading_a_box(
    text: str, strict: object, loose: object, first: object
) -> None:
    assert (strict_box(text), loose_box(text), first_box(text)) == (strict, loose, first)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.5, 0.5, 1.2, 1.4), (320, 240, 640, 480)),
        ((-50.0, 100.0, 500.0, 500.0), (0, 48, 320, 240)),
        ((100.0, 100.0, 1100.0, 300.0), (100, 100, 640, 300)),
        ((500.0, 500.0, 100.0, 100.0), (64, 48, 320, 240)),
    ],
)
def test_the_unit_is_guessed_from_the_largest_number(
    box: tuple[float, ...], pixels: tuple[float, ...]
) -> None:
    assert guessed_pixels(box, 640, 480) == pytest.approx(pixels)


def test_an_overlap_of_exactly_one_half_hits() -> None:
    gold = (0.0, 0.0, 400.0, 400.0)
    assert hits((0.0, 0.0, 200.0, 400.0), gold)
    assert not hits((0.0, 0.0, 199.0, 400.0), gold)


def test_long_texts_are_read_in_no_time() -> None:
    for piece in (
        "[",
        "1",
        "1 ",
        "[1 1 1 ",
        '{"boxes": [',
        "(1, 1, 1",
        "<answer>",
        " ",
        "1.",
        "1e",
        "\x00",
    ):
        text = piece * (100_000 // len(piece))
        for read in (strict_box, loose_box, first_box):
            start = time.process_time()  # not the clock: the machine may be busy
            read(text)
            assert time.process_time() - start < 1
