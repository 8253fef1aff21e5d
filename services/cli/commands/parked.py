"""`holdfast parked`: inputs that were set aside because no harness got through their turn."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def parked(
    action: Literal["list", "show", "release", "drop"] = "list",
    *names: str,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Show, release or drop the inputs of sessions that were set aside.

    When every harness that works on an input dies of it, the turn is given up, the session goes on, and the input is
    set aside. Release it once the cause is mended: its session takes it as if it had been sent just now.

    For example:

        holdfast parked

        holdfast parked show default.sesn_a0_….17

        holdfast parked release default.sesn_a0_….17

    Exit codes: 0 done, 1 it could not be done, 2 no running stack, or no parked input of that name.

    Parameters
    ----------
    action
        list: all of them, a line each. show: what they say. release: send them to their session again, unless it has
        them already. drop: delete them for good.
    names
        Names from the list.
    json
        One JSON object a line.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.embedded import parked as work  # noqa: PLC0415  not for a help text: the import takes long

    return work.run(action, names, data, as_json=json)
