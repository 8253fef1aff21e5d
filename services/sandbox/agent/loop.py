"""The agent's main object: receives calls, starts each in the shell or in a helper process, cancels them."""

from __future__ import annotations

import contextlib
import os
import re
import signal

from .channel import Call, Channel
from .file_calls import IDLE_S, FileCalls
from .files import HIDDEN, write_all
from .frames import decode
from .inputs import ToolError
from .network import Network
from .poller import Poller
from .processes import CROWDED, reap_orphans
from .shell import Shell
from .text import error_block, text_block
from .tools import FILE_TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root


FRAME_ID: Final = re.compile(rb'\{"id":(\d+),')
"""The number of the call at the beginning of a frame of the service."""

UNREADABLE: Final = "the input cannot be read: it holds a number that is too long, or is nested too deep"


def _on_signal(*_: object) -> None:
    """The pipe tells the loop."""


class Loop:
    """Runs the commands of `bash` one after the other, and the other tools beside them.

    `idle_s`: seconds after which a helper without a call is ended.
    """

    def __init__(self, root: Root, idle_s: float = IDLE_S) -> None:
        self._root = root
        self._poller = Poller()
        self._channel = Channel(self._poller, self._on_frame)
        self._files = FileCalls(self._poller, root, idle_s)
        self._network = Network(self._poller)
        self._shell = Shell(self._poller, root, self._own_processes)
        self._shell_call: Call | None = None
        self._waiting: list[Call] = []

    def run(self) -> None:
        """Serve until the service closes the stream."""
        self._channel.open()
        self._watch_children()
        self._poller.run()

    def _watch_children(self) -> None:
        """Wait for every process that ends and that the agent has inherited."""
        ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _on_signal)  # without a handler nothing is written to the pipe

        def on_child() -> None:
            os.read(ours, 4096)
            reap_orphans()

        self._poller.watch(ours, on_child)

    def _own_processes(self) -> set[int]:
        """The agent, its helpers and its forwarder: the processes that a restart of the shell spares."""
        return {os.getpid(), *self._files.processes(), *self._network.processes()}

    def _on_frame(self, frame: bytes) -> None:
        try:
            fields = decode(frame)
        except (ValueError, RecursionError):  # the model's input: a number of thousands of digits, or nested too deep
            number = FRAME_ID.search(frame)
            if number is None:
                raise
            unread = {"id": int(number.group(1)), "name": "", "input": None, "limit": 0.0}
            Call(self._channel, frame, unread, self._on_reply).reply([text_block(UNREADABLE)], is_error=True)
            return
        if fields.get("end_processes"):
            self._shell.end_processes()
            return
        if fields.get("cancel"):
            self._cancel(fields["id"])
            return
        call = Call(self._channel, frame, fields, self._on_reply)
        if call.name == "bash":
            self._waiting.append(call)
            self._start_command()
        elif call.name in FILE_TOOLS:
            self._files.start(call)
        else:
            known = ", ".join(["bash", *FILE_TOOLS])
            call.reply([error_block(f"there is no tool {call.name!r}; there are {known}")], is_error=True)

    def _on_reply(self, call: Call) -> None:
        if call is self._shell_call:
            self._shell_call = None
            self._start_command()

    def _start_command(self) -> None:
        """Start the next command if the shell is free. Commands run in the order of their calls."""
        while self._waiting and self._shell_call is None:
            call = self._shell_call = self._waiting.pop(0)
            self._make_home()
            try:
                self._shell.run(call)
            except ToolError as exc:
                call.reply([error_block(str(exc))], is_error=True)
            except OSError:
                call.reply([text_block(f"bash: {CROWDED}")], is_error=True)

    def _cancel(self, call_id: int) -> None:
        waiting = next((call for call in self._waiting if call.id == call_id), None)
        if self._shell_call and call_id == self._shell_call.id:
            self._shell.cancel()
        elif waiting:
            self._waiting.remove(waiting)
            waiting.reply([text_block("[cancelled]")], is_error=True)
        else:
            self._files.cancel(call_id)

    def _make_home(self) -> None:
        """Make the home directory, which an earlier command may have removed: `git clean -ffdx` does."""
        with contextlib.suppress(OSError):  # it exists already, or the workspace is full
            self._root.make_parents(f"{HIDDEN}/home/x")
            fd = self._root.open(f"{HIDDEN}/.gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            write_all(fd, b"*\n")
            os.close(fd)
