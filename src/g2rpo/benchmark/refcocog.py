"""RefCOCOg (arXiv 1511.02283), UMD splits: like RefCOCO, with longer sentences."""

from g2rpo.benchmark.published import Published
from g2rpo.benchmark.refcoco import RefCoco


class RefCocoG(RefCoco):
    """One row for each sentence of val and test."""

    name = "refcocog"
    published = Published(
        row=18,
        title="RefCOCOg",
        base=86.8,
        onethinker=89.2,
        grpo=89.6,
        gdpo=88.9,
        openvlthinker_v2=90.4,
    )
