"""`holdfast tail`: show the stored events of a session, then new ones as they come."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def tail(
    session: str,
    /,
    *,
    from_: Annotated[int, Parameter(name="--from", validator=validators.Number(gte=1), show_default=True)] = 1,
    follow: bool = True,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show the stored events of a session from the beginning or from a number on, then new ones as they come.

    A line has the event's number, its time, the time since the previous event, and its type as the API names it.
    After a lost connection the command continues where it was: no event is missed or shown twice. Ctrl-C ends it.

    For example:

        holdfast tail esj2f91k

        holdfast tail esj2f91k --from 120

        holdfast tail esj2f91k --no-follow --json

    Exit codes: 0 the session has ended or all was shown, 1 it cannot be read, 2 no running stack, or a mistake in
    the command line, 130 Ctrl-C.

    Parameters
    ----------
    session
        Id of the session, or its beginning or end (4 characters or more); holdfast sessions lists them.
    from_
        Number of the first event to show; the first event of a session has number 1.
    follow
        Show new events as they come. With --no-follow only the stored events are shown.
    json
        Print each event as one line of JSON, complete and as the API has it.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.tail import show_live, show_stored  # noqa: PLC0415

    show = show_live if follow else show_stored
    return run_api_command("tail", data, lambda target: show(target, session, from_, as_json=json))
