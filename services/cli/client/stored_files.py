"""Work of `holdfast files`: uploads, lists, downloads and deletes files over the API."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from anthropic import AsyncAnthropic, omit

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.target import Target
from holdfast.cli.sanitize import clean_line

Action = Literal["list", "show", "upload", "download", "delete"]

PAGE_FILES: Final = 1000

_NEEDED: Final[dict[Action, str]] = {
    "show": "the id of a file",
    "upload": "the path of a file",
    "download": "the id of a file",
    "delete": "the id of a file",
}


async def carry_out(
    target: Target, action: Action, names: Sequence[str], *, to: Path | None, expires_in: int | None, as_json: bool
) -> int:
    """Do it with each name, and print a line for each. Raises CannotDo, and the errors of the SDK."""
    if action == "list" and names:
        raise CannotDo("list takes no names")
    if action in _NEEDED and not names:
        raise CannotDo(f"{action}: give {_NEEDED[action]}; holdfast files lists the ids")
    if to is not None and (action != "download" or len(names) > 1):
        raise CannotDo("--to is for the download of one file")
    if expires_in is not None and action != "upload":
        raise CannotDo("--expires-in is for upload")
    async with target.client() as client:
        if action == "list":
            async for file in client.beta.files.list(limit=PAGE_FILES):
                print(_line(file.to_dict(mode="json"), as_json=as_json))
        for name in names:
            print(await _one(client, action, name, to=to, expires_in=expires_in, as_json=as_json))
    return 0


async def _one(
    client: AsyncAnthropic, action: Action, name: str, *, to: Path | None, expires_in: int | None, as_json: bool
) -> str:
    """Do it with one name; returns the line to print."""
    files = client.beta.files
    match action:
        case "upload":
            try:
                with Path(name).open("rb") as content:  # noqa: ASYNC230  the SDK reads it piece by piece
                    seconds = omit if expires_in is None else expires_in
                    made = await files.upload(file=(Path(name).name, content), expires_in_seconds=seconds)
            except OSError as exc:
                raise CannotDo(f"{name}: {exc.strerror}") from None
            return _line(made.to_dict(mode="json"), as_json=as_json)
        case "download":
            return await _download(client, name, to, as_json=as_json)
        case "delete":
            deleted = await files.delete(name)
            return msgspec.json.encode(deleted.to_dict()).decode() if as_json else f"deleted {clean_line(deleted.id)}"
        case _:
            return _line((await files.retrieve_metadata(name)).to_dict(mode="json"), as_json=as_json)


async def _download(client: AsyncAnthropic, file_id: str, to: Path | None, *, as_json: bool) -> str:
    """Write the file under its name, or to the path `to`; nothing is left of it if that fails.

    A file that exists is not replaced. Raises CannotDo.
    """
    file = await client.beta.files.retrieve_metadata(file_id)
    path = to or Path(_safe_name(file.filename, file_id))
    try:
        with path.open("xb") as out, _removed_on_failure(path):
            async with client.beta.files.with_streaming_response.download(file_id) as answer:
                async for piece in answer.iter_bytes():
                    out.write(piece)
            if out.tell() != file.size_bytes:
                raise CannotDo(f"{file_id}: {out.tell()} of {file.size_bytes} bytes have come; try again")
    except FileExistsError:
        raise CannotDo(f"{path}: exists already, and is not replaced; give another path with --to") from None
    except OSError as exc:
        raise CannotDo(f"{path}: {exc.strerror}") from None
    return msgspec.json.encode({"id": file_id, "path": str(path)}).decode() if as_json else clean_line(str(path))


def _safe_name(filename: str, file_id: str) -> str:
    """The name under which a file is written here: no server decides in which folder that is."""
    name = Path(filename.replace("\\", "/")).name
    return file_id if name in ("", ".", "..") or "\0" in name else name


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Generator[None]:
    """Remove the file again if the block fails."""
    try:
        yield
    except BaseException:
        path.unlink()
        raise


def _line(file: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(file).decode()
    values = (file["id"], file["size_bytes"], file["created_at"], file["expires_at"], file["filename"])
    return "\t".join(clean_line(str("" if value is None else value)) for value in values)
