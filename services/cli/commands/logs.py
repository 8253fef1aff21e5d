"""`holdfast logs`: show the logs of a stack."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def logs(
    *services: str,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False,
    lines: Annotated[int | None, Parameter(name=["--lines", "-n"], validator=validators.Number(gte=0))] = None,
    since: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show the logs of all processes of a stack, running or stopped, in the order of time.

    For example:

        holdfast logs

        holdfast logs --follow -n 20

        holdfast logs sandbox harness-1 --since 10m

        holdfast logs --json | jq 'select(.level == "error")'

    Exit codes: 0 shown, 1 they cannot be read, 2 no stack, or no process of that name, 130 Ctrl-C.

    Parameters
    ----------
    services
        Show only these: up, session, harness-1, harness-2, sandbox, vault, nats, bao, model (with --scripted).
    follow
        Go on with new lines as they come, until Ctrl-C.
    lines
        Show only so many of the newest lines. Default: all.
    since
        Show only what is not older than this: 90s, 10m, 2h or 3d, or a time such as 2026-11-27T14:30.
    json
        One JSON object a line, with the fields as they were logged.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.embedded import logs as reading_logs  # noqa: PLC0415  not for a help text: the import takes long

    return reading_logs.run(services, data, follow=follow, lines=lines, since=since, as_json=json)
