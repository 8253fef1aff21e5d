"""`holdfast tasks`: tasks of other systems that could not be carried out."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def tasks(
    action: Literal["list", "show", "resend"] = "list",
    *ids: str,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show the tasks that could not be carried out, and send them again.

    Such a task is kept for 30 days with its reason: malformed (the publisher has to mend it), unbound (its kind has no
    binding), unrenderable (the templates of the binding and the task do not fit), refused (agent or environment cannot
    be used), internal (an error of Holdfast). Mend the cause, then send the task again: it uses the binding as it is
    then. A line has these values with tabs between them: id, kind, when it was given up, reason, message.

    For example:

        holdfast tasks

        holdfast tasks show task_06x…

        holdfast tasks resend task_06x…

    Exit codes: 0, 1 the API refused, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    action
        list: all that could not be carried out, a line each. show: the state of any task (waiting, open,
        done, dead), and its session. resend:
        send them once more, as they were published.
    ids
        Ids of tasks. Those of finished tasks are in the metadata of their sessions, as task_id.
    json
        One JSON object a line.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client import tasks as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    return run_api_command("tasks", data, lambda target: work.carry_out(target, action, ids, as_json=json))
