"""RefCOCO+ (arXiv 1608.00272): like RefCOCO, with sentences that name no position."""

from g2rpo.benchmark.published import Published
from g2rpo.benchmark.refcoco import RefCoco


class RefCocoPlus(RefCoco):
    """One row for each sentence of val, testA and testB."""

    name = "refcoco_plus"
    published = Published(
        row=17,
        title="RefCOCO+",
        base=84.5,
        onethinker=87,
        grpo=87.7,
        gdpo=87.8,
        openvlthinker_v2=88.2,
    )
