"""RefCOCO+ (arXiv 1608.00272): as RefCOCO, with sentences that name no position."""

from g2rpo.benchmark.refcoco import RefCoco


class RefCocoPlus(RefCoco):
    """One row for each sentence of val, testA and testB."""

    name = "refcoco_plus"
