import time

import pytest

from g2rpo.scoring.vlmevalkit_points import Area, dataset_points, parser_places


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('[{"point_2d": [550, 480], "label": "it\'s (1, 2)"}]', [(0.55, 0.48)]),
        ("[{'point_2d': (550, 480)}, {'point': [100, 200]}]", [(0.55, 0.48), (0.1, 0.2)]),
        ('```json\n{"point_2d": ["550", 480]}\n```', [(0.55, 0.48)]),
        ('```json {"point_2d": [550, 480]}```', []),  # the fence's first line is the whole text
        ('```{"point_2d": [550, 480]}```', [(0.55, 0.48)]),
        ('[{"point_2d": [1600, 480]}]', [(2.5, 1.0)]),  # above 1000: pixels of 640 x 480
        ('[{"point_2d": [1.4, 0.2]}]', [(1.4, 0.2)]),
        ("between (64, 48) and (0.5, 0.25)", [(0.1, 0.1), (0.5, 0.25)]),
        ("(-64, 48)", [(-0.1, 0.1)]),
        ("(.5, .25), ( 0.5, 0.25), (5e-1, 0.25), (0.5 , 0.25)", []),
        ("(+0.5, 0.25)", [(0.5, 0.25)]),
        ('Here: [{"point_2d": [550, 480]}]', []),
        ("[[550, 480]]", []),
        ("[550, 480]", []),
        ('[{"point_2d": [550, 480, 3]}, {"bbox_2d": [1, 2, 3, 4]}, 7]', []),
        ('[{"point_2d": [NaN, 480]}]', []),
        ("(1, 2, 3)", []),
        ("(0.1, 0.2, 0.5, 0.6)", [Area(64, 96, 320, 288)]),
        ("(90, 70, 10, 20)", [Area(10, 20, 90, 70)]),
        ("(10, 20, 10, 90)", []),  # no pixel
    ],
)
def test_places_of_the_parser(text: str, places: list[tuple[float, ...]]) -> None:
    found = parser_places(text, 640, 480)
    assert [tuple(place) for place in found] == [pytest.approx(tuple(place)) for place in places]


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ('[{"point": [480, 550]}]', [(0.55, 0.48)]),  # y first
        ('[{"point_2d": [1, 1]}]', [(1.0, 1.0)]),
        ('[{"point_2d": [1.2, 1]}]', [(0.0012, 0.001)]),
        ('[{"point_2d": [-550, 1]}]', [(-550.0, 1.0)]),  # only what is above 1 is per mille
        ("[[550, 480], [100, 200]]", [(0.55, 0.48), (0.1, 0.2)]),
        ("at:\n```\n[[550, 480]]\n``` or (1, 2)", [(0.55, 0.48)]),
        ("```json [[550, 480]]```", []),
        ('[[550, 480], ["a", 480]]', [(0.55, 0.48)]),  # what was read before stays
        ("(550, 480)", [(550.0, 480.0)]),
        ("( .5 , 0.4 )", [(0.5, 0.4)]),
        ("(+0.5, 0.4) (5e-1, 0.4) (-0.5, 0.4)", []),
        (
            '<points x1="55" y1="48" x2="10.5" y2="20" alt="cup"/>',
            [(0.55, 0.48), (0.105, 0.2)],
        ),
        ('<points x1="0.5" y1="0.25"/>', [(0.5, 0.25)]),
        ('<points x1="55" y1="48" alt="cup">cup</points>', []),
        ('<points x1="5" y1="8"\n/> <points x1="55" y1="48"/>', [(0.55, 0.48)]),
        ('<point x="55" y="48"/>', []),
        ("[550, 480]", []),
        ("Here you go: [{'point_2d': [550, 480]}]", []),
    ],
)
def test_points_of_the_data_set(text: str, points: list[tuple[float, float]]) -> None:
    assert dataset_points(text) == [pytest.approx(point) for point in points]


def test_100_000_characters_are_read_within_a_second() -> None:
    pieces = (
        *(
            "(",
            "(1,",
            "( ",
            "1",
            "<points ",
            "<points x1=",
            '<points x1="1" y1="1" ',
            "```",
            "```\n",
        ),
        *("<points\n", "[", '{"point":', "(1,1,1,1)", "(1,1)", "/>", "(9" * 3, "(." * 3, "\n"),
    )
    for piece in pieces:
        text = piece * (100_000 // len(piece))
        for read in (dataset_points, lambda text: parser_places(text, 640, 480)):
            start = time.process_time()
            read(text)
            assert time.process_time() - start < 1, piece


def test_a_point_that_is_an_object_is_none() -> None:
    assert dataset_points('[{"point_2d": {"x": 550, "y": 480}}]') == []
