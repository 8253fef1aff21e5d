"""The files of one session on this host: a folder that its sandboxes see read-only, as a manifest says.

The folder is changed in place, so that a sandbox that runs sees what is added and removed. A file is written beside it
and then moved into its place: nobody sees half of one. The marker beside the folder says which manifest was applied; it
is written last, so that after a death the work is done again.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from holdfast.bus.errors import Damaged
from holdfast.bus.uploads import Manifest, Upload, decode_manifest

FILE_MODE: Final = 0o444
FOLDER_MODE: Final = 0o755

ReadChunk = Callable[[str, int], Awaitable[bytes]]
"""Reads a chunk of a content: its id, and the number of the chunk. Raises BusError."""


class NoRoom(Exception):
    """The disk of this host has no room for the files of the session. The text is a sentence."""


class _Applied(msgspec.Struct, frozen=True):
    """The marker: the id of the manifest that was applied, and what it says."""

    id: str
    manifest: Manifest


class UploadFolder:
    """`root` is the folder; beside it are `<root>.applied` and `<root>.new`.

    `free` tells the bytes that files may still take on this disk.
    """

    def __init__(self, root: Path, read: ReadChunk, free: Callable[[], int]) -> None:
        self._root = root
        self._read = read
        self._free = free
        self._marker = root.with_name(f"{root.name}.applied")
        self._beside = root.with_name(f"{root.name}.new")

    async def apply(self, manifest_id: str, manifest: Manifest) -> None:
        """Make the folder as the manifest says. Raises NoRoom, OSError, BusError; then it may be called again."""
        applied = await asyncio.to_thread(self._applied)
        if applied is not None and applied.id == manifest_id:
            return
        before = {one.path: one for one in applied.manifest.files} if applied else {}
        missing = await asyncio.to_thread(self._remove_others, manifest, before)
        needed, free = sum(one.size_bytes for one in missing), self._free()
        if needed > free:
            raise NoRoom(f"the files of this session need {needed} bytes on this host, and {free} are free")
        for upload in missing:
            await self._add(upload)
        await asyncio.to_thread(self._note, _Applied(manifest_id, manifest))

    def remove(self) -> None:
        """Delete the folder and what is beside it. May be repeated. Blocks."""
        self._marker.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)
        shutil.rmtree(self._root, ignore_errors=True)

    # --- the folder ------------------------------------------------------------------------------------------------

    def _applied(self) -> _Applied | None:
        """What the marker says; None without one that can be read: then every file is written anew."""
        try:
            return msgspec.json.decode(self._marker.read_bytes(), type=_Applied)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _note(self, applied: _Applied) -> None:
        self._beside.write_bytes(msgspec.json.encode(applied))
        self._beside.replace(self._marker)

    def _remove_others(self, manifest: Manifest, before: dict[str, Upload]) -> list[Upload]:
        """Remove what the manifest does not have, and return the files that are to be written.

        What is there is looked at, and not only what the marker says: an earlier manifest may be applied half.
        """
        self._root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        kept = {one.path for one in manifest.files if before.get(one.path) == one and self._has(one)}
        for folder, _, names in os.walk(self._root, topdown=False):
            for name in names:
                path = Path(folder, name)
                if path.relative_to(self._root).as_posix() not in kept:
                    path.unlink()
            if folder != str(self._root):
                with contextlib.suppress(OSError):  # it is not empty
                    Path(folder).rmdir()
        return [one for one in manifest.files if one.path not in kept]

    def _has(self, upload: Upload) -> bool:
        try:
            return (self._root / upload.path).stat().st_size == upload.size_bytes
        except OSError:
            return False

    # --- one file --------------------------------------------------------------------------------------------------

    async def _add(self, upload: Upload) -> None:
        """Write the file beside the folder, and move it into its place. Raises Damaged for other bytes."""
        found = hashlib.sha256()
        with await asyncio.to_thread(self._beside.open, "wb") as out:
            for index in range(upload.chunks):
                chunk = await self._read(upload.content, index)
                await asyncio.to_thread(_write, out, chunk)
                found.update(chunk)
        if found.hexdigest() != upload.sha256:
            raise Damaged(f"the bytes of the content {upload.content} are not those that were uploaded")
        await asyncio.to_thread(self._move, upload)

    def _move(self, upload: Upload) -> None:
        target = self._root / upload.path
        target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._beside.chmod(FILE_MODE)
        self._beside.replace(target)


def _write(out: BinaryIO, chunk: bytes) -> None:
    out.write(chunk)


async def read_manifest(read: ReadChunk, manifest_id: str) -> Manifest:
    """The manifest that is stored as the content with that id, in one chunk. Raises BusError."""
    return decode_manifest(await read(manifest_id, 0))
