"""`holdfast sessions`: the newest sessions, one line each."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def sessions(
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000), show_default=True)] = 20,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """List sessions, the newest first, one line each.

    The status of a session is running, retrying (after an error of the model), idle (done), failed, archived, or waits
    for you (for a permission or the result of a tool). Every command takes the short id. In a pipe there is no heading,
    and a line has these values with tabs between them: id, status, created, last active, tokens in, tokens out, agent,
    title.

    For example:

        holdfast sessions

        holdfast sessions --all --limit 200

        holdfast sessions --json

    Exit codes: 0, 1 the API refused, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    limit
        How many to show.
    all_
        Archived ones too.
    json
        Print one JSON array of objects.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.sessions import show_sessions  # noqa: PLC0415

    return run_api_command(
        "sessions", data, lambda target: show_sessions(target, limit, include_archived=all_, as_json=json)
    )
