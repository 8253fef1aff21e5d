"""The running stacks of one user, so that a command finds them from any folder.

Each running stack has one file in a folder of that user, mode 0700. The file holds the path of the data folder and no
secret; everything else is in the `run.json` of that data folder. A file whose stack has stopped is removed by the next
reader. A killed stack leaves its `run.json`. Its file here stays until it is started again, so that commands name it.
"""

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.embedded.layout import write_private
from holdfast.cli.embedded.runfile import NAME, RunFile, running, started

_FILE_NAME: Final = re.compile(r"(\d+)-(\d+)\.json")
"""Process id of the supervisor and its start time in clock ticks: a restarted stack has another file."""


class Entry(msgspec.Struct, frozen=True):
    """Content of one file. `host` names the process table that the file name's process id belongs to."""

    data: str
    host: str


def _host() -> str:
    """This machine and this PID namespace: a home folder may be shared with other machines and containers."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where files of this user may be, the preferred folder first.

    A terminal over ssh or in cron may lack XDG_RUNTIME_DIR, so readers look in all of them.
    """
    runtime = (Path(environ.get("XDG_RUNTIME_DIR", "")), Path(f"/run/user/{os.geteuid()}"))
    found = [base / "holdfast" for base in runtime if base.is_absolute() and _is_ours(base)]
    state, home = Path(environ.get("XDG_STATE_HOME", "")), Path(environ.get("HOME", ""))
    if not state.is_absolute():
        state = home / ".local" / "state"
    if state.is_absolute():
        found.append(state / "holdfast")
    return list(dict.fromkeys(found))


def _is_ours(path: Path) -> bool:
    """Whether this user owns `path`, not following a link."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_safe(folder: Path) -> bool:
    """Whether nobody but this user can have put files there."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def register(run: RunFile, environ: Mapping[str, str] = os.environ) -> None:
    """Make a running stack known to this user's other terminals. Raises OSError when no folder can be written."""
    error = OSError("neither XDG_RUNTIME_DIR nor HOME names a folder of this user")
    for path, entry in _entries(environ):
        if entry.data == run.data:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    for folder in folders(environ):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_safe(folder):
                error = OSError(f"{folder} can be written by other users")
                continue
            write_private(folder / _file_name(run), msgspec.json.encode(Entry(run.data, _host())))
        except OSError as exc:
            error = exc
        else:
            return
    raise error


def unregister(run: RunFile, environ: Mapping[str, str] = os.environ) -> None:
    """Forget a stack that stops."""
    for folder in folders(environ):
        with contextlib.suppress(OSError):
            (folder / _file_name(run)).unlink(missing_ok=True)


def _file_name(run: RunFile) -> str:
    return f"{run.supervisor}-{run.supervisor_started}.json"


def stacks(environ: Mapping[str, str] = os.environ) -> list[RunFile]:
    """The stacks of this user that run now, by data folder. Files of stacks that have ended are removed."""
    found: dict[str, RunFile] = {}
    for path, entry in _entries(environ):
        if _has_ended(path):
            with contextlib.suppress(OSError):
                if not (Path(entry.data) / NAME).exists():
                    path.unlink(missing_ok=True)
        elif run := own(Path(entry.data)):
            found[run.data] = run
    return [found[data] for data in sorted(found)]


def killed(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Data folders of this user's stacks that ended without being stopped and were not started again."""
    found = {entry.data for path, entry in _entries(environ) if _has_ended(path) and own(Path(entry.data)) is None}
    return sorted(data for data in found if (Path(data) / NAME).is_file())


def _has_ended(path: Path) -> bool:
    pid, began = map(int, path.stem.split("-"))
    return started(pid) != began


def _entries(environ: Mapping[str, str]) -> Iterator[tuple[Path, Entry]]:
    """Readable files of this user and this host."""
    here = _host()
    for folder in folders(environ):
        if not _is_safe(folder):
            continue
        for path in sorted(folder.glob("*.json")):
            if not _FILE_NAME.fullmatch(path.name):
                continue
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                entry = msgspec.json.decode(path.read_bytes(), type=Entry)
                if entry.host == here:
                    yield path, entry


def own(folder: Path) -> RunFile | None:
    """The stack that runs in that data folder, if this user started it; None otherwise, also when it cannot be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        if _is_ours(folder / NAME):
            return running(folder)
    return None
