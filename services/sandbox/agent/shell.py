"""The tool `bash`: one shell per session, whose folder, variables, functions and jobs last from call to call."""

from __future__ import annotations

import os
import time

from .bash_process import BashProcess, StatusReader, left_state
from .earlier_shell import NEW_SANDBOX, earlier_shell
from .inputs import ToolError, checked
from .live_output import LiveOutput
from .output import TAIL_BYTES, Output, from_whole_character
from .processes import end, others, pause, present, started_since, terminate
from .text import text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from .channel import Call
    from .files import Root
    from .poller import Poller, Timer

COMMAND_BYTES: Final = 1024 * 1024
"""Largest command."""

STOP_STEP_S: Final = 0.3
"""Seconds from SIGTERM to a command's processes until SIGKILL, and from that until the shell itself is killed."""

SAME_BOMB_S: Final = 1.0
"""Seconds after the end of a fork bomb in which what is left of it is ended without another word."""

TIMED_OUT: Final = "timed out"

_AGAIN: Final = "started others, beyond the limit of this sandbox, again and again"
FORK_BOMB: Final = f"ended with all that it had started: its processes {_AGAIN}"
FORK_BOMB_BETWEEN: Final = f"[processes in the background were ended: they {_AGAIN}]\n"

NEW_SHELL: Final = (
    "[the shell ended; the next command gets a new one in {folder} with the exported variables {when}; "
    "other variables, functions and options are gone]"
)
"""Told when a shell has ended. `when`: whether it told its state at its end or the state is that before the command."""


class _Command:
    """The command that runs."""

    def __init__(self, call: Call, output: Output, live_output: LiveOutput, status: StatusReader) -> None:
        self.call = call
        self.output = output
        self.live_output = live_output
        self.status = status
        self.before = present()
        """The processes that existed when it started."""
        self.timer: Timer | None = None
        self.stop_steps = 0
        """Attempts to stop it so far, each harder than the one before."""
        self.stopped_because = ""


class Shell:
    """Runs one command at a time. `own_processes`: the agent's processes, which are never stopped."""

    def __init__(self, poller: Poller, root: Root, own_processes: Callable[[], set[int]]) -> None:
        self._poller = poller
        self._root = root
        self._own_processes = own_processes
        self._cwd = root.path
        self._exports = b""
        self._bash: BashProcess | None = None
        self._command: _Command | None = None
        self._between = bytearray()
        """The end of the output of background jobs since the last command."""
        self._told_bomb = -SAME_BOMB_S
        """When the model was last told of a fork bomb, on the monotonic clock."""
        self._first_note: str | None = None
        """What the first command of this sandbox is told; None before it."""

    def run(self, call: Call) -> None:
        """Start the command of the call, which is replied to later. Raises ToolError, and OSError if bash cannot start.

        The service has taken `timeout_ms` into account in the call's limit.
        """
        fields: dict[str, tuple[type, object]] = {
            "command": (str, None), "restart": (bool, False), "timeout_ms": (int, 0)
        }  # fmt: skip
        command, restart, _ = checked("bash", call.input, fields)
        if restart:
            self._restart(call)
            return
        data = _encoded(command)
        restored = b""
        if self._bash is None:
            self._start_bash()
            restored = b"{ :\n" + self._exports + b"\n} 2>/dev/null\0" if self._exports else b""
        assert self._bash is not None
        if self._first_note is None:
            self._first_note = NEW_SANDBOX if earlier_shell(self._root) else ""
        self._command = started = _Command(
            call, Output(self._root), LiveOutput(self._poller, call), StatusReader(skip=1 if restored else 0)
        )
        # As in a terminal: the output of background jobs since the last command comes first.
        started.live_output.add(started.output.add(self._between))
        self._between = bytearray()
        started.timer = self._poller.after(call.limit, lambda: self._stop(TIMED_OUT))
        self._bash.send(restored + data + b"\0")

    def cancel(self) -> None:
        """Stop the command that runs; its reply, an error, is still sent."""
        self._stop("cancelled")

    def end_processes(self) -> None:
        """Kill all processes but the agent's and the shell, and stop the command that runs: there is a fork bomb.

        May be repeated ten times a second. A command that is being stopped already is not stopped harder for it: the
        shell has its time to answer.
        """
        shell = {self._bash.pid} if self._bash is not None else set[int]()
        spared = self._own_processes() | shell | {1}
        if not others(spared):
            return
        end(lambda: others(spared))
        now = time.monotonic()
        if self._command is None:
            if now < self._told_bomb + SAME_BOMB_S:
                return
            self._on_output(FORK_BOMB_BETWEEN.encode())
        elif not self._command.stopped_because:
            self._stop(FORK_BOMB)
        self._told_bomb = now

    # --- the process -----------------------------------------------------------------------------------------------

    def _start_bash(self) -> None:
        try:
            self._bash = self._new_bash()
        except BlockingIOError:
            # Processes of earlier commands have reached the limit of processes: only their end makes room.
            self._end_others()
            self._bash = self._new_bash()

    def _new_bash(self) -> BashProcess:
        folders = (self._cwd, self._root.path)
        return BashProcess(self._poller, folders, self._on_output, self._on_status, self._on_exit)

    def _restart(self, call: Call) -> None:
        """End the shell with every process that was ever started from it, and forget its folder and variables."""
        if self._bash is not None:
            self._end_others()
            self._bash.reap()
            self._bash = None
            self._between = bytearray()
        self._cwd, self._exports = self._root.path, b""
        left_state()  # what a shell left is not for the next one
        call.reply([text_block("bash session restarted")])

    def _end_others(self) -> None:
        """Kill all processes but the agent's and the first of the sandbox."""
        end(lambda: others(self._own_processes() | {1}))

    def _on_output(self, data: bytes) -> None:
        if self._command is not None:
            self._command.live_output.add(self._command.output.add(data))
        else:
            self._between += data
            if len(self._between) > TAIL_BYTES:
                self._between = from_whole_character(self._between[-TAIL_BYTES:])

    def _on_status(self, data: bytes) -> None:
        if self._command is None or self._bash is None:
            return
        try:
            status = self._command.status.add(data)
        except ValueError:
            # A process wrote to the private descriptor of its shell.
            self._command.stopped_because = "the shell's answer made no sense"
            self._bash.end()
            return
        if status is not None:
            code, self._cwd, self._exports = status
            self._bash.read_output()
            self._finish(code)

    def _on_exit(self) -> None:
        assert self._bash is not None
        self._bash.read_output()
        code = self._bash.reap()
        self._bash = None
        when = "that it had before this command"
        state = left_state()
        if state is not None:
            self._cwd, self._exports = state
            when = "that it had at its end"
        if self._command is not None:
            self._finish(128 - code if code < 0 else code, NEW_SHELL.format(folder=self._folder(), when=when))

    def _folder(self) -> str:
        """The folder in which the next shell starts: that of the last one, unless it is gone or unreadable."""
        return self._cwd if os.path.isdir(self._cwd) and os.access(self._cwd, os.X_OK) else self._root.path  # noqa: PTH112

    # --- the end of a command --------------------------------------------------------------------------------------

    def _stop(self, why: str) -> None:
        """End the command, harder each time: SIGTERM to its processes, SIGKILL, SIGKILL to the shell itself.

        Before all, bash is told to run no more of it: else the end of a process would start the next line.
        """
        command = self._command
        if command is None:
            return
        command.stopped_because = command.stopped_because or why
        command.stop_steps += 1
        if command.stop_steps == 1:
            paused = pause(lambda: self._processes_of(command))
            if self._bash is not None:
                self._bash.stop_command()
            terminate(paused)
        else:
            end(lambda: self._processes_of(command))
        self._poller.drop(command.timer)
        if command.stop_steps <= 2:
            command.timer = self._poller.after(STOP_STEP_S, lambda: self._stop(why))
        elif self._bash is not None:
            self._bash.end()  # bash itself is busy, perhaps in a loop without other processes

    def _processes_of(self, command: _Command) -> list[int]:
        shell = self._bash.pid if self._bash is not None else -1
        return started_since(command.before, self._own_processes() | {1}, shell)

    def _finish(self, code: int, note: str = "") -> None:
        """Reply to the call. `code` is the exit code of the command."""
        command, self._command = self._command, None
        assert command is not None
        if command.stopped_because:
            end(lambda: self._processes_of(command))  # processes that outlived the one that the shell waited for
        self._poller.drop(command.timer)
        command.live_output.end()
        if self._bash is not None:
            self._bash.drop_unsent()
        notes = [self._note(command, code), note, self._first_note or ""]
        self._first_note = ""
        text = _with_notes(command.output.text(), [note for note in notes if note])
        command.call.reply([text_block(text)], bool(code or command.stopped_because))

    def _note(self, command: _Command, code: int) -> str:
        """A line for the model on how the command ended; empty if it succeeded."""
        if command.stopped_because == TIMED_OUT:
            shell = "the shell is kept" if self._bash is not None else "the shell with it"
            return f"[timed out after {command.call.limit:g} s: the command and its processes were stopped, {shell}]"
        if command.stopped_because:
            return f"[{command.stopped_because}]"
        return f"[exit code {code}]" if code else ""


def _encoded(command: str | None) -> bytes:
    """The bytes of a command for bash. Raises ToolError."""
    if not command:
        raise ToolError("bash: command is required")
    if "\0" in command:
        raise ToolError("bash: the command cannot hold a NUL character")
    data = command.encode("utf-8", "surrogatepass")
    if len(data) > COMMAND_BYTES:
        raise ToolError(f"bash: the command is over {COMMAND_BYTES} bytes; write it to a file and run that")
    return data


def _with_notes(text: str, notes: list[str]) -> str:
    """The output of a command, and below it the notes on how it ended."""
    if not text and not notes:
        return "(no output)"
    line_end = "" if not text or not notes or text.endswith("\n") else "\n"
    return text + line_end + "\n".join(notes)
