"""The whole page as one string: no script, no network, nothing beside it."""

from g2rpo.report.curves import curve_sections
from g2rpo.report.document import document
from g2rpo.report.estimate import estimate_section
from g2rpo.report.folder import Run
from g2rpo.report.gallery import gallery_section
from g2rpo.report.head import benchmark_section, footer, header, score_section


def page(run: Run) -> str:
    """The report of one run."""
    parts = (header, score_section, benchmark_section, curve_sections, gallery_section, estimate_section, footer)
    return document(f"{run.name} - g2rpo run", "".join(part(run) for part in parts))
