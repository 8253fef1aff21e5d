"""`holdfast files`: the files of the Files API."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def files(
    action: Literal["list", "show", "upload", "download", "delete"] = "list",
    *names: str,
    to: Path | None = None,
    expires_in: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
    data: Path | None = None,
) -> int:
    """Upload files to a running stack, list, download and delete them.

    In a line the values have tabs between them: id, bytes, times of creation and of expiry, name.

    For example:

        holdfast files upload report.pdf data.csv

        holdfast files

        holdfast files download file_06x… --to report.pdf

    Exit codes: 0, 1 the API refused, or a file here cannot be read or written, 2 no running stack, or a mistake in the
    command line.

    Parameters
    ----------
    action
        list: all files, newest first, a line each. show: a line of one. upload: from here; prints its line, with the
        new id. download: to here; prints the path; a file that exists is never replaced. delete: for good.
    names
        Ids from the list; for upload paths.
    to
        For the download of one file: the path to write. Default: its name, in the current folder.
    expires_in
        For upload: seconds after which the bytes are erased, 3600 (an hour) to 7776000 (ninety days). Default: never.
    json
        One JSON object a line.
    data
        Folder of the running stack. Default: HOLDFAST_DATA, else .holdfast here, else your only running stack.
    """
    from holdfast.cli.client import stored_files as work  # noqa: PLC0415  not for a help text: the import takes long
    from holdfast.cli.client.api_command import run_api_command  # noqa: PLC0415

    return run_api_command(
        "files",
        data,
        lambda target: work.carry_out(target, action, names, to=to, expires_in=expires_in, as_json=json),
    )
