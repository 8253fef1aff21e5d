"""The one bash of the session: folder, variables, functions and jobs live on from call to call."""

from __future__ import annotations

import os
import select
import signal

from .inputs import ToolError, checked
from .live import Live
from .output import TAIL, Output
from .processes import after_fork, end, kill, others, present, started_since
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .loop import Loop, Timer

LOOP: Final = r"""
while IFS= builtin read -r -d '' -u 198 __holdfast; do
  builtin eval "$__holdfast" </dev/null >&197 2>&1 197>&- 198<&- 199>&-
  { builtin printf '%d\0%s\0' "$?" "$PWD"; builtin export -p; builtin printf '\0'; } >&199 2>/dev/null
done
"""
"""What bash runs: commands come NUL-ended on one private descriptor; exit code, folder and exported variables go back
on another. So nothing a command prints can be taken for its end, and what `exec` redirects ends with its command."""

FIRST_FD: Final = 197
"""The numbers of those descriptors: output, commands, status."""

COMMAND_LIMIT: Final = 1024 * 1024
"""Bytes of one command."""

STATUS_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of an answer on the status descriptor: the environment of a process cannot be larger by much."""

STEP: Final = 0.3
"""Seconds between asking a command's processes to end, killing them, and giving up the shell itself."""

NEW_SHELL: Final = (
    "[the shell ended; the next command gets a new one with the folder and the exported variables of the last; "
    "other variables, functions and options are gone]"
)


class Shell:
    """Runs one command at a time; the loop keeps the order."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._cwd = loop.root.path
        self._exports = b""
        self._pid = self._pidfd = self._commands = self._status = self._out = -1
        self._call: int | None = None
        self._between = bytearray()
        self._output = Output(loop.root)
        self._live: Live | None = None
        self._limit = 0.0
        self._reply = bytearray()
        self._sending = bytearray()
        self._skip = 0
        self._before: set[int] = set()
        self._phase = 0
        self._why = ""
        self._timer: Timer | None = None

    def run(self, call: int, given: Any, limit: float) -> None:
        """Start the command; its reply goes to the loop. Raises ToolError, and OSError when no shell can be had."""
        fields: dict[str, tuple[type, object]] = {
            "command": (str, None), "restart": (bool, False), "timeout_ms": (int, 0)
        }  # fmt: skip
        command, restart, _ = checked("bash", given, fields)
        if restart:
            self._end()
            self._cwd, self._exports = self._loop.root.path, b""
            self._loop.reply(call, [text_block("bash session restarted")])
            return
        if not command:
            raise ToolError("bash: command is required")
        if "\0" in command:
            raise ToolError("bash: the command cannot hold a NUL character")
        data = command.encode("utf-8", "surrogatepass")
        if len(data) > COMMAND_LIMIT:
            raise ToolError(f"bash: the command is over {COMMAND_LIMIT} bytes; write it to a file and run that")
        restored = b""
        if self._pid < 0:
            try:
                self._start()
            except BlockingIOError:
                # The limit of processes is reached by what earlier commands left: only its end makes room.
                end(lambda: others(self._loop.own_processes() | {1}))
                self._start()
            restored = b"{ :\n" + self._exports + b"\n} 2>/dev/null\0" if self._exports else b""
        self._call, self._limit = call, limit
        self._skip = 1 if restored else 0
        self._reply = bytearray()
        self._before = present()
        self._phase, self._why = 0, ""
        # As in a terminal: what background jobs have printed since the last command comes first.
        self._output = Output(self._loop.root)
        self._output.add(self._between)
        self._live = Live(self._loop, call)
        self._live.add(self._between)
        self._between = bytearray()
        self._sending = bytearray(restored + data + b"\0")
        self._timer = self._loop.after(limit, lambda: self._stop("timed out"))
        self._send()

    def cancel(self) -> None:
        """Stop the present command; its reply comes all the same."""
        self._stop("cancelled")

    # --- the process -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        commands, self._commands = os.pipe()
        self._status, status = os.pipe()
        self._out, out = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                self._become_bash((out, commands, status))
        except OSError:
            for fd in (self._commands, self._status, self._out):
                os.close(fd)
            raise
        finally:
            for fd in (commands, status, out):
                os.close(fd)
        self._pid, self._pidfd = pid, os.pidfd_open(pid)
        for fd in (self._out, self._status, self._commands):
            os.set_blocking(fd, False)
        self._loop.watch(self._out, self._printed)
        self._loop.watch(self._status, self._answered)
        self._loop.watch(self._pidfd, self._exited)

    def _become_bash(self, fds: tuple[int, int, int]) -> None:
        try:
            os.setsid()
            after_fork()
            null = os.open("/dev/null", os.O_RDWR)
            # First away from the numbers they are to have, so that none is closed by the placing of another.
            for index, fd in enumerate([os.dup2(fd, 240 + index) for index, fd in enumerate(fds)]):
                os.dup2(fd, FIRST_FD + index)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.closerange(3, FIRST_FD)
            os.closerange(FIRST_FD + 3, 512)
            try:
                os.chdir(self._cwd)
            except OSError:
                os.chdir(self._loop.root.path)  # it was removed
            os.execve("/bin/bash", ["bash", "--noprofile", "--norc", "-c", LOOP], os.environ)  # noqa: S606
        finally:
            os._exit(127)

    def _send(self) -> None:
        try:
            while self._sending:
                del self._sending[: os.write(self._commands, self._sending[:65536])]
        except BlockingIOError:
            self._loop.watch(self._commands, self._send, select.EPOLLOUT)
            return
        except BrokenPipeError:
            self._sending.clear()  # the shell is ending, which is seen elsewhere
        self._loop.unwatch(self._commands)

    def _printed(self) -> None:
        """Take what is there, so that no job ever blocks; of what comes between calls the end is kept."""
        for _ in range(16):
            try:
                data = os.read(self._out, 65536)
            except BlockingIOError:
                return
            if not data:
                self._loop.unwatch(self._out)
                return
            if self._call is not None:
                self._output.add(data)
                if self._live:
                    self._live.add(data)
            else:
                self._between += data
                del self._between[:-TAIL]

    def _answered(self) -> None:
        try:
            data = os.read(self._status, 65536)
        except BlockingIOError:
            return
        if not data:
            # The shell became another program by `exec`: that one's end is the end of the call.
            self._loop.unwatch(self._status)
            return
        if self._call is None:
            return
        self._reply += data
        while self._reply.count(b"\0") >= 3:
            code, cwd, exports, rest = bytes(self._reply).split(b"\0", 3)
            self._reply = bytearray(rest)
            if self._skip:
                self._skip -= 1
                continue
            if not code.isdigit():
                break
            self._cwd, self._exports = os.fsdecode(cwd), exports
            self._printed()
            self._finish(int(code))
            return
        else:
            if len(self._reply) <= STATUS_LIMIT:
                return
        self._why = "the shell's answer made no sense"  # something wrote to its private descriptor
        kill(self._pid, signal.SIGKILL)

    def _exited(self) -> None:
        self._printed()
        _, status = os.waitpid(self._pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._close()
        if self._call is not None:
            self._finish(128 - code if code < 0 else code, NEW_SHELL)

    def _close(self) -> None:
        for fd in (self._pidfd, self._commands, self._status, self._out):
            self._loop.unwatch(fd)
            os.close(fd)
        self._pid = self._pidfd = self._commands = self._status = self._out = -1

    def _end(self) -> None:
        """Stop the shell with everything that was ever started from it."""
        if self._pid < 0:
            return
        end(lambda: others(self._loop.own_processes() | {1}))
        os.waitpid(self._pid, 0)
        self._close()
        self._between = bytearray()

    # --- the end of a command --------------------------------------------------------------------------------------

    def _stop(self, why: str) -> None:
        """End the command, harder each time: ask its processes, kill them, give up the shell."""
        if self._call is None:
            return
        self._why = self._why or why
        self._phase += 1
        if self._phase == 1:
            for pid in self._mine():
                kill(pid, signal.SIGTERM)
        else:
            end(self._mine)
        self._loop.drop(self._timer)
        if self._phase <= 2:
            self._timer = self._loop.after(STEP, lambda: self._stop(why))
        else:
            kill(self._pid, signal.SIGKILL)  # bash itself is busy, in a loop of its own perhaps

    def _mine(self) -> list[int]:
        """The processes of this command."""
        return started_since(self._before, self._loop.own_processes() | {1}, self._pid)

    def _finish(self, code: int, note: str = "") -> None:
        call, self._call = self._call, None
        assert call is not None
        if self._why:
            end(self._mine)  # those that outlived the one the shell waited for
        self._loop.drop(self._timer)
        if self._live:
            self._live.end()
        self._sending.clear()
        text = self._output.text()
        notes: list[str] = []
        if self._why == "timed out":
            kept = "the shell is kept" if self._pid >= 0 else "the shell with it"
            notes.append(f"[timed out after {self._limit:g} s: the command and its processes were stopped, {kept}]")
        elif self._why:
            notes.append(f"[{self._why}]")
        elif code:
            notes.append(f"[exit code {code}]")
        notes += [note] if note else []
        if not text and not notes:
            text = "(no output)"
        between = "" if not text or not notes or text.endswith("\n") else "\n"
        self._loop.reply(call, [text_block(text + between + "\n".join(notes))], bool(code or self._why))
