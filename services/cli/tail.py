"""`holdfast tail`: the events of a session, from any number on, and then as they come."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def tail(
    session: str,
    *,
    from_: Annotated[int, Parameter(name="--from", validator=validators.Number(gte=1))] = 1,
    follow: bool = True,
    data: Path | None = None,
) -> int:
    """Show the events of a session from the beginning or from a number on, and go on as they come.

    A lost connection is made again where it was lost: no event is missed and none is shown twice. Ctrl-C ends it.

    For example:

        holdfast tail sesn_a0_01k4...

        holdfast tail sesn_a0_01k4... --from 120

        holdfast tail sesn_a0_01k4... --no-follow

    Exit codes: 0 the session has ended or all was shown, 1 it cannot be read, 2 no running stack, 130 Ctrl-C.

    Parameters
    ----------
    session
        Id of the session; holdfast sessions lists them.
    from_
        Number of the first event to show; the first event of a session has number 1.
    follow
        Go on with events as they come; without it only what is stored is shown.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here.
    """
    from holdfast.cli.client import talking  # noqa: PLC0415  not for a help text: the import takes long

    return talking.tail(session, from_, data, live=follow)
