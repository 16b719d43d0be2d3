"""Values and lines that a record of a stranger may hold."""

import random
from typing import Any

STRUCTURED: tuple[Any, ...] = (
    [], {}, [None], [[]], [[[[1]]]], {"": ""}, {"a": {"b": [1, {"c": None}]}}, ["A", "B"],
    [1, "A", None], [{"label": "A", "text": "x"}], {"A": "1", "B": 2}, {"A": ["1"]},
    [{"role": "user", "content": "q"}], [{"role": ["user"], "content": {}}], [{"from": "human"}],
    [{"role": "user", "content": [{"type": ["image"], "image": 3}]}], [{"bytes": None, "path": 5}],
    {"role": ["user"], "content": ["q", "r"]}, [{"path": ["a.png"]}], [["a.png"]], {"bytes": 7},
    {"boxes": [0, 0, 10**400, 5]}, {"boxes": None}, [{"path": ""}],
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -1, 1.5, 10**30, 10**400, -(10**4000), 1e308, float("nan"), float("inf"), True, False, None,
)  # fmt: skip
TEXTS: tuple[Any, ...] = (
    "", " ", "\0", "a\0b.png", "\ud800", "x\udfffy", "\u2028", "\u202eevil", "e\u0301" * 500,
    "<image>", "<image>" * 40, "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "~/x.png",
    "http://example.org/a.png", "data:image/png;base64,AAAA", "data:,", "data:image/png;base64,é",
    "iVBORw0KGgo" + "A" * 90, "/9j/" + "A" * 200, "a.png", "cut.png", "text.png", "pipe.png", "sub",
    "loop.png", "[" * 3000, "{" * 3000, "{\"boxes\": " * 900, "9" * 6000, "9**9**9", "$" * 2000,
    "x" * 100_000, "A. 1 B. 2 C. 3", "(A)", "a/b/c", "a:b", ".", "..", "default", "math", "OCR",
    "multiple choice", "spatial grounding", "custom", "<answer></answer>", "{{ 7 * 7 }}", "%s%n",
    '{"boxes": [1, 2, 3, 1e999]}', '{"boxes": [[1], 2, 3, 4]}', "</script>", "n" * 300, "null",
)  # fmt: skip


def value(rng: random.Random) -> Any:
    """Return a number, a text or something nested."""
    match rng.randrange(8):
        case 0:
            return rng.choice(NUMBERS)
        case 1 | 2:
            return rng.choice(STRUCTURED)
        case 3:
            return [value(rng) for _ in range(rng.randrange(4))]
        case 4:
            return {rng.choice(("role", "content", "type", "A", "\ud800")): value(rng)}
        case _:
            return rng.choice(TEXTS)


def torn(rng: random.Random, line: bytes) -> bytes:
    """Return a line that is cut, doubled, replaced or changed in a byte."""
    place = rng.randrange(len(line))
    match rng.randrange(6):
        case 0:
            return line[:place]
        case 1:
            return line[:place] + bytes([rng.randrange(256)]) + line[place + 1 :]
        case 2:
            return b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        case 3:
            return line.replace(b"3", b"3" * 6000, 1)
        case 4:
            return line + line
        case _:
            return rng.choice((b"[]", b"null", b"3", b'"x"', b"\xef\xbb\xbf" + line, b"\xff\xfe"))
