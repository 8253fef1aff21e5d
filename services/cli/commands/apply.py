"""`holdfast apply`: the changes of a session come into a folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def apply(
    session: str,
    /,
    *,
    dir: Path | None = None,  # noqa: A002  the option is called --dir
    exclude: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    data: Path | None = None,
) -> int:
    """Make your folder hold what the agent made of it: all of it, or nothing.

    Nothing is changed when a file changed in your folder since it was copied, and you are told which. Never touched:
    .git (commits of the agent stay in its copy), what was left out of the copy, and whatever lies behind a link.

    For example:

        holdfast apply esj2f91k

        holdfast apply esj2f91k --exclude package-lock.json

        holdfast apply esj2f91k --dir ../another-checkout

    Exit codes: 0 applied, 1 nothing was changed, 2 no running stack, or a mistake in the command line.

    Parameters
    ----------
    session
        Id of the session, or its beginning or end (4 characters or more); holdfast sessions lists them.
    dir
        The folder. Default: the one that was copied with run --dir.
    exclude
        Leave out changes of files that this pattern names. Can be given several times.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.apply import apply as apply_session  # noqa: PLC0415

    return run_api_command("apply", data, lambda target: apply_session(target, session, dir, exclude))
