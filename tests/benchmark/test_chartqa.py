import pytest

from g2rpo.benchmark.chartqa import ChartQA


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("14.7", "14", [1, 1]),
        ("14.71", "14", [0, 0]),
        ("$1,000", "1000", [0, 1]),
        ("12%", "12", [0, 1]),
        ("0.12", "12%", [1, 1]),
        ("12", "12%", [0, 1]),
        ("0.0", "0", [0, 1]),
        ("0.01", "0", [0, 0]),
        ("3", "[3, 5]", [1, 1]),
        ("4", "[3, 5]", [0, 0]),
        ("The answer is Yes.", "yes", [0, 1]),
        ("Brazil and Peru", "Brazil", [0, 0]),
        ("<thinking>20?</thinking><answer>14</answer>", "14", [0, 1]),
        ("−14", "-14", [0, 1]),
    ],
)
def test_relaxed_accuracy_by_protocol(text: str, gold: str, expected: list[int]) -> None:
    assert [
        ChartQA().score(text, {"answer": gold}, protocol=protocol)
        for protocol in ("paper", "robust")
    ] == expected


def test_rows_of_three_sources() -> None:
    hub = ChartQA().row(
        {"type": "human_test", "question": "How many?", "answer": "14", "image": "a.png"}
    )
    other = ChartQA().row(
        {"query": "How many?", "label": ["14"], "human_or_machine": 1, "image": "a.png"}
    )
    table = ChartQA().row(
        {
            "index": 3,
            "question": "How many?",
            "answer": 14.0,
            "split": "test_human",
            "image": "a.png",
        }
    )
    assert [row["answer"] for row in (hub, other, table)] == ["14"] * 3
    assert [ChartQA().subscores(row) for row in (hub, other, table)] == [
        ["split/human"],
        ["split/augmented"],
        ["split/human"],
    ]
