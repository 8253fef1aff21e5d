"""`holdfast diff`: show the changes of a session."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def diff(
    session: str,
    /,
    *,
    stat: Annotated[bool, Parameter(negative=())] = False,
    name_only: Annotated[bool, Parameter(negative=())] = False,
    patch: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,  # - is a value
    data: Path | None = None,
) -> int:
    """Show what the agent changed in the files that --dir copied in. Without --dir every file is new.

    In a pipe it is a patch that git apply takes, binary files included.

    For example:

        holdfast diff esj2f91k

        holdfast diff esj2f91k --stat

        holdfast diff esj2f91k | git apply

        holdfast diff esj2f91k --patch fix.patch

    Exit codes: 0, 1 the session is not known or its files cannot be read, 2 no running stack, or a mistake in the
    command line.

    Parameters
    ----------
    session
        Id of the session, or its beginning or end (4 characters or more); holdfast sessions lists them.
    stat
        Only the number of lines that came and went in each file.
    name_only
        Only the names of the files.
    patch
        Write the patch to this file; - is the standard output, also on a terminal.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.diff import show_diff  # noqa: PLC0415

    form = "stat" if stat else "names" if name_only else "diff"
    return run_api_command("diff", data, lambda target: show_diff(target, session, form, patch))
