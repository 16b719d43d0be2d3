"""RefCOCOg (arXiv 1511.02283), UMD splits: as RefCOCO, with longer sentences."""

from g2rpo.benchmark.refcoco import RefCoco


class RefCocoG(RefCoco):
    """One row for each sentence of val and test."""

    name = "refcocog"
