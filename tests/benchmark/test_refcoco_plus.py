from PIL import Image

from g2rpo.benchmark.refcoco_plus import RefCocoPlus


def test_it_scores_as_refcoco_does_under_its_own_name() -> None:
    benchmark = RefCocoPlus()
    record = {
        "index": 1,
        "image": Image.new("RGB", (1000, 1000)),
        "question": "a hat",
        "answer": "[100, 100, 200, 200]",
        "split": "val",
    }
    row = benchmark.row(record)
    assert benchmark.prompt(row).id == "refcoco_plus/val/1"
    assert [
        benchmark.score("[100, 100, 200, 200]", row, protocol=protocol)
        for protocol in ("paper", "vlmevalkit", "robust")
    ] == [0, 1, 1]
