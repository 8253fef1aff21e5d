"""`holdfast bindings`: what the tasks of other systems become."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def bindings(
    action: Literal["list", "show", "create", "update", "archive"] = "list",
    *names: str,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show and change bindings: which agent gets the tasks of a kind, with which message, in which session.

    A program publishes a task to the NATS subject task.TENANT.KIND. The binding of that kind says what it becomes.

    For example:

        holdfast bindings

        holdfast bindings create review.yaml

        holdfast bindings update review review.yaml

        holdfast bindings archive review

    Exit codes: 0, 1 the API refused, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    action
        list: all of them, a line each. show: the whole binding of each kind that is named. create: from a file, or
        several. update: the binding of a kind, from a file. archive: further tasks of the kind become dead ones.
    names
        Kinds from the list, or files in YAML or JSON. A file has the fields kind, agent, environment_id and message,
        and may have session_key, title, when, metadata, max_open, remember_hours and signature (docs/tasks.md). Fields
        of a file that an update names replace those of the binding; the others stay.
    all_
        Archived ones too.
    json
        One JSON object a line.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client import bindings as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    return run_api_command(
        "bindings",
        data,
        lambda target: work.carry_out(target, action, names, include_archived=all_, as_json=json),
    )
