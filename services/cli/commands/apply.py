"""`holdfast apply`: bring the changes of a session into a folder of the user."""

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
    """Bring all changes of the agent into your folder, or none of them.

    If a file in your folder has changed since it was copied, nothing is changed, and the file is named. The command
    never touches .git (commits of the agent stay in its copy), files that were not copied, and files behind a link.

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
