"""The embedded nats-server: its configuration, written anew at each start."""

import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.accounts import password_variable
from holdfast.bus.jetstream.permissions import permissions
from holdfast.bus.readers import Reader, users
from holdfast.bus.streams import MAX_MESSAGE_BYTES
from holdfast.cli.embedded.layout import NATS_USERS, Layout, write_private
from holdfast.cli.embedded.packaged_files import not_installed, packaged
from holdfast.process import disk


def binary() -> str:
    """The nats-server beside this Python, else the one on the path. Raises Missing."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise not_installed("nats-server")
    return found


def processors() -> int:
    """Processors that the server may use: half of them, because its threads spin before they sleep.

    Measured on two: an input reaches the model about 14 % sooner, a tool step takes about 10 % longer. Not measured on
    more.
    """
    return max(1, len(os.sched_getaffinity(0)) // 2)


def server_name(layout: Layout) -> str:
    return f"holdfast-{layout.state.id}"


def _store_limit(layout: Layout) -> int:
    """Bytes the server may store: all of the file system.

    Its own default is 75 % of what is free at its start, and counts what it has stored already: a stack that fills
    more than three quarters of a disk could not write any more after a restart. The free space is watched instead.
    """
    return disk.space(layout.nats).total


def remove_unfinished(folder: Path) -> None:
    """Remove the files that a nats-server was writing anew when it was killed. None may run on the folder.

    It never looks at them again, and they hold messages: also those of sessions that are deleted later (rule 29).
    """
    for path in folder.rglob("*.blk.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def write_config(layout: Layout, port: int, sync: str, readers: Sequence[Reader] = ()) -> Path:
    """Write the configuration and return its path. `sync` is `always`, or how often to sync to disk, such as `1s`.

    `readers` of public events become users too.
    """
    names = (*NATS_USERS, *users(readers))
    passwords = "\n".join(f'{password_variable(user)} = "{layout.nats_password(user)}"' for user in names)
    given = permissions([FIRST_CELL], readers) if readers else packaged("permissions.conf", "nats")
    text = f"""# Written by `holdfast up` at each start; do not edit.
server_name: "{server_name(layout)}"
listen: "127.0.0.1:{port}"
max_payload: {MAX_MESSAGE_BYTES}
lame_duck_grace_period: "1ms"
lame_duck_duration: "30s"
jetstream {{
  store_dir: "{layout.nats}"
  sync_interval: "{sync}"
  max_file_store: {_store_limit(layout)}
}}
{passwords}
{given}"""
    path = layout.secrets / "nats.conf"
    write_private(path, text.encode())
    return path
