"""Save the W&B view: `python -m g2rpo.report.dashboard --entity <entity> --project <project>`."""

import argparse
import json
import sys

import wandb

from g2rpo.report.dashboard.view import as_json, view
from g2rpo.report.dashboard.workspace import workspace


def main(arguments: list[str] | None = None) -> int:
    """Save the view and print its address, or print it as JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m g2rpo.report.dashboard",
        description="Save a view of the runs of a W&B project.",
    )
    parser.add_argument("--entity", required=True, help="user or team that the project belongs to")
    parser.add_argument(
        "--project", required=True, help="name of the project, as in logger.wandb.project"
    )
    parser.add_argument(
        "--name", default="g2rpo", help="name of the saved view (default: %(default)s)"
    )
    parser.add_argument(
        "--tasks",
        default="",
        help="tasks of the runs, as in gui,math: each gets its own panels of length and entropy,"
        " with its bands (default: one panel for all)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the view as JSON; needs no network, account or wandb-workspaces",
    )
    given = parser.parse_args(arguments)
    sections = view([task for task in given.tasks.split(",") if task])
    if given.dry_run:
        described = {
            "entity": given.entity,
            "project": given.project,
            "name": given.name,
            "sections": as_json(sections),
        }
        sys.stdout.write(json.dumps(described, indent=2) + "\n")
        return 0
    try:
        saved = workspace(
            sections, entity=given.entity, project=given.project, name=given.name
        ).save()
    except (
        ImportError,
        wandb.Error,
        ValueError,
        OSError,
    ) as error:  # no package, no account, no such project, no network
        sys.stderr.write(f"the view of {given.entity}/{given.project} was not saved: {error}\n")
        return 1
    sys.stdout.write(f"{saved.url}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
