"""`holdfast up --detach`: the supervisor as a process that outlives the terminal it was started from.

The parent starts the same command as a child in a session of its own. Until the stack is ready the child writes to the
terminal of the parent, so progress and errors look as in the foreground. Then the child redirects its output to
`logs/up.log` and writes one byte to a pipe, upon which the parent exits.
"""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from holdfast.cli.embedded import model_endpoint, runfile
from holdfast.cli.embedded.environment import READY_FD
from holdfast.cli.embedded.model_variables import KEY, URL
from holdfast.cli.embedded.runfile import RunFile
from holdfast.cli.exit_codes import INTERRUPTED
from holdfast.cli.failure import tell

_READY_BYTE: Final = b"1"


def in_background() -> bool:
    """Whether this process was started by `start`."""
    return READY_FD in os.environ


class UpRequest(msgspec.Struct, frozen=True):
    """The options of `holdfast up` that a running stack may not match. `port` None or 0: any port."""

    port: int | None = None
    model_url: str = ""
    scripted: bool = False

    def mismatch(self, run: RunFile, environ: Mapping[str, str]) -> str:
        """Why the running stack is not the one that was asked for; empty if it is."""
        if self.port and not run.base_url.endswith(f":{self.port}"):
            return f"its address is {run.base_url}"
        if self.scripted:
            return "" if run.is_scripted else f"its model is {run.model_in_words}"
        if not (self.model_url or environ.get(URL) or environ.get(KEY)):
            return ""
        wanted = model_endpoint.choose(environ, url=self.model_url).base_url
        return f"its model is {run.model_in_words}" if run.is_scripted or run.model_base_url != wanted else ""


def start(folder: Path, request: UpRequest) -> int:
    """Start `holdfast` with the arguments of this process in the background; returns the exit code of this process.

    0: the stack is ready, or the running one is as it was asked for. Otherwise the exit code of the child, which has
    printed the cause.
    """
    run = runfile.running(folder)
    if run is not None:
        try:
            mismatch = request.mismatch(run, os.environ)
        except model_endpoint.BadEndpoint as exc:
            mismatch = str(exc)
        if mismatch:
            stop = f"holdfast down --data {shlex.quote(str(folder))}"
            tell("up", f"a stack runs in {folder} already, but {mismatch}.\nStop it first: {stop}")
            return 1
        print(_already(run))
        return 0
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = subprocess.Popen(  # noqa: S603  this program once more, with the arguments it was given
        [sys.executable, "-P", "-m", "holdfast.cli", *sys.argv[1:]],
        env={**os.environ, READY_FD: str(writing)},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(writing,),
    )
    os.close(writing)
    try:
        is_ready = os.read(reading, len(_READY_BYTE)) == _READY_BYTE
        return 0 if is_ready else child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        return INTERRUPTED


def release(log: Path) -> None:
    """In the child, when the stack is ready: redirect the output to `log` and let the parent exit.

    The output goes nowhere if the log cannot be written. Does nothing in the foreground.
    """
    number = os.environ.pop(READY_FD, "")
    if not number:
        return
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    with _open(log) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.write(int(number), _READY_BYTE)
    os.close(int(number))


def _open(log: Path) -> BinaryIO:
    try:
        return log.open("ab")
    except OSError:  # the disk is full, or has no inodes left: the stack runs all the same
        return Path(os.devnull).open("ab")


def _already(run: RunFile) -> str:
    return f"already running: {run.base_url}  (process id {run.supervisor}, data {run.data})"
