"""`holdfast status`: show the health of a stack and how much it stores."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def status(*, json: Annotated[bool, Parameter(negative=())] = False, data: Path | None = None) -> int:
    """Show the state of the stack: health and memory of each process, free disk space, sessions, the size of streams.

    A process that is not ready is shown with the cause; holdfast logs shows more. Of a stack on another machine, named
    by HOLDFAST_BASE_URL and HOLDFAST_API_KEY, only the state of the API is shown.

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
