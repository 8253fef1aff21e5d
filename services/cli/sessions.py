"""`holdfast sessions`: the newest sessions in a table."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def sessions(
    *,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=10_000))] = 20,
    all_: Annotated[bool, Parameter(name="--all")] = False,
    data: Path | None = None,
) -> int:
    """List sessions, the newest first.

    For example:

        holdfast sessions

        holdfast sessions --all --limit 200

    Exit codes: 0, 1 the API refused, 2 no running stack.

    Parameters
    ----------
    limit
        How many to show.
    all_
        Archived ones too.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here.
    """
    from holdfast.cli.client import talking  # noqa: PLC0415  not for a help text: the import takes long

    return talking.sessions(limit, data, archived=all_)
