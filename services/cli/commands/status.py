"""`holdfast status`: is everything well, and how much is stored."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def status(*, json: Annotated[bool, Parameter(negative=())] = False, data: Path | None = None) -> int:
    """Show how the stack is: each process with its health and memory, free disk space, sessions, the size of streams.

    What is not ready is told with its cause; holdfast logs tells more. Of a stack on another machine, named by
    HOLDFAST_BASE_URL and HOLDFAST_API_KEY, only the API can be seen.

    For example:

        holdfast status

        holdfast status --data ~/agents

        holdfast status --json | jq .is_well

    Exit codes: 0 all is well, 1 something is not ready, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    json
        One JSON object.
    data
        Folder of the stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.embedded import status as shown  # noqa: PLC0415  not for a help text: the import takes long

    return shown.run(data, as_json=json)
