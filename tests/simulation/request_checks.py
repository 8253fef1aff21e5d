"""Checks that the log and its watchers hold nothing of a model request whose start is not in the log (rule 6)."""

import re
from collections.abc import Callable

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta
from holdfast.bus.commits import Commit
from holdfast.testing.memory.records import CoreMessage

SAW = re.compile(r"I saw (\d+) messages")
"""In a response of the simulated model: how many messages of the user were in its request."""


class RequestChecks:
    """The model requests of one session: which starts are in its log, and how many messages came before each."""

    def __init__(self, violation: Callable[[str], None]) -> None:
        self._violation = violation
        self._messages: dict[str, int] = {}
        """Messages so far, by thread."""
        self._compacted: set[str] = set()
        """Threads whose messages were summarised."""
        self._before: dict[str, int] = {}
        """Messages of the thread in the log before the start of each request, by its id."""

    def appended(self, commit: Commit) -> None:
        """Check a commit, after all before it."""
        for event in commit.events:
            match event:
                case ev.UserMessage(thread=thread):
                    self._messages[thread] = self._messages.get(thread, 0) + 1
                case ev.ModelRequestStart(id=request, thread=thread):
                    self._before[request] = self._messages.get(thread, 0)
                case ev.ModelRequestEnd(model_request_start_id=request):
                    self._check_started(request, "the end")
                case ev.AgentContextCompacted(thread=thread):
                    self._compacted.add(thread)
                case ev.AgentMessage(request=request, thread=thread, content=content):
                    self._check_started(request, "a message")
                    saw = SAW.search(str(content))
                    if saw and thread not in self._compacted and int(saw[1]) < self._before.get(request, 0):
                        self._violation(f"start: request {request} has not seen all that precedes its start in the log")
                case ev.AgentToolUse(request=request) | ev.AgentCustomToolUse(request=request):
                    self._check_started(request, "a tool call")
                case _:
                    pass

    def published(self, message: CoreMessage) -> None:
        """Check a message to watchers."""
        for delta in msgspec.json.decode(message.data, type=list[Delta]):
            if delta.request:
                self._check_started(delta.request, "a delta")

    def _check_started(self, request: str, what: str) -> None:
        if request not in self._before:
            self._violation(f"start: {what} of request {request}, whose start is not in the log")
