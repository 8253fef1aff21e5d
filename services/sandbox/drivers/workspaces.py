"""The files of sessions on this host: a folder for each, `<data>/workspaces/<tenant>/<session>`, for every driver."""

import asyncio
import os
import subprocess
from pathlib import Path

import structlog

from holdfast.bus.ids import Key, is_token
from holdfast.sandbox.drivers.worker_homes import as_unavailable

log = structlog.get_logger()


class Workspaces:
    """The workspaces below the folder `data`. `uid` and `gid`, which the processes of sandboxes have on the host, own
    them."""

    def __init__(self, data: Path, uid: int, gid: int) -> None:
        self._root = data / "workspaces"
        self._owner = (uid, gid)

    def folder(self, key: Key) -> Path:
        """The folder of a session. Raises ValueError for a key that is none."""
        if not (is_token(key.tenant) and is_token(key.session)):
            raise ValueError("not a session")
        return self._root / key.tenant / key.session

    async def prepare(self, key: Key) -> Path:
        """Make the folder if it is missing, and give it to the owner. Raises SandboxUnavailable."""
        folder = self.folder(key)
        with as_unavailable("the workspace of the session cannot be made"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)  # an earlier sandbox may have taken the rights away, and no other could start in it
            await own(folder, *self._owner)
        return folder

    def stored(self) -> list[Key]:
        """The sessions that have a folder. Blocks."""
        folders = [folder.relative_to(self._root) for folder in self._root.glob("*/*")]
        return [Key(*folder.parts) for folder in folders if all(is_token(part) for part in folder.parts)]

    async def remove(self, key: Key) -> None:
        """Delete the folder of a session. May be repeated."""
        folder = self.folder(key)
        if not folder.exists():
            return
        for command in (["chmod", "-R", "u+rwX", "--"], ["rm", "-rf", "--one-file-system", "--"]):
            await _run(*command, str(folder))
        if folder.exists():
            log.warning("a workspace could not be removed completely", folder=str(folder))


async def own(folder: Path, uid: int, gid: int) -> None:
    """Give the folder and all in it to this user, if another one has it: another driver ran here before.

    Links are not followed. Raises OSError.
    """
    if os.stat(folder).st_uid == uid:  # noqa: PTH116  pathlib is taken for blocking work here
        return
    if os.geteuid() != 0:
        raise PermissionError(f"{folder} belongs to another user: the service ran as root here before")
    await _run("chown", "-R", "-h", f"{uid}:{gid}", "--", str(folder))


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    await process.wait()
