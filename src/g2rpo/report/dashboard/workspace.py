"""The sections as a `wandb-workspaces` workspace; only this module needs that package."""

from collections.abc import Sequence
from typing import Any

from g2rpo.report.dashboard.view import Panel, Section

COLUMNS = 3
OPEN = 3
"""Number of sections that are open at first."""


def workspace(sections: Sequence[Section], *, entity: str, project: str, name: str) -> Any:
    """Return a `wandb_workspaces.workspaces.Workspace` that is not saved yet.

    Raises:
        ImportError: If `wandb-workspaces` is not installed.
    """
    try:
        from wandb_workspaces import workspaces
    except ImportError as error:
        raise ImportError(
            "the dashboard needs wandb-workspaces: pip install -c constraints/ci.txt -e"
            ' ".[dashboard]"'
        ) from error
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(
                name=section.name,
                panels=[_panel(panel) for panel in section.panels],
                is_open=place < OPEN,
                layout_settings=workspaces.SectionLayoutSettings(
                    columns=COLUMNS, rows=-(-len(section.panels) // COLUMNS)
                ),
            )
            for place, section in enumerate(sections)
        ],
        settings=workspaces.WorkspaceSettings(x_axis="Step", smoothing_type="none"),
    )


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports import v2

    if panel.table:
        return v2.WeavePanelSummaryTable(table_name=panel.table)
    lines: dict[str, Any] = (
        {"metric_regex": panel.pattern} if panel.pattern else {"y": list(panel.columns)}
    )
    return v2.LinePlot(title=panel.title, title_y=panel.unit, x="Step", title_x="step", **lines)
