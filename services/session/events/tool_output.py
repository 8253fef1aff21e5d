"""Which output of running tool calls one connection is sent. Pure.

It is sent as deltas of the result: a prefix of it, without holes, from a start delta to `agent.tool_result` at the
latest. The deltas have the id of the `agent.tool_use` event, since the result has none yet. The output of a call that
had printed something before the connection opened is not sent.
"""

from collections.abc import Iterable
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.head import Head

TOOL_RESULT_TYPE: Final = "agent.tool_result"
"""Type of the events whose deltas the output of calls is."""


class OutputFilter:
    """Selects the output of the open calls of one session for one connection."""

    def __init__(self) -> None:
        self._sent_chars: dict[str, int] = {}
        """Characters sent of each open call. Calls that are not in it get no more."""

    def begin(self, head: Head) -> None:
        """Start to listen. Calls of which something was sent get no more, since some output may have been missed."""
        self._sent_chars = {call.id: 0 for call in head.calls if call.state != "client"}

    def observe(self, event: ev.Event) -> None:
        """Note that an event of the log is sent, which may open or close a call."""
        match event:
            case ev.AgentToolUse():
                self._sent_chars[event.id] = 0
            case ev.AgentToolResult():
                self._sent_chars.pop(event.tool_use_id, None)
            case _:
                pass

    def select(self, outputs: Iterable[Output]) -> list[Delta]:
        """Those of the pieces that are sent now, as deltas, in order."""
        out: list[Delta] = []
        for piece in outputs:
            sent_chars = self._sent_chars.get(piece.call)
            if sent_chars is None or not piece.text:
                continue
            if piece.at != sent_chars:
                del self._sent_chars[piece.call]
                continue
            if not sent_chars:
                out.append(Delta(piece.call, TOOL_RESULT_TYPE, start=True))
            out.append(Delta(piece.call, TOOL_RESULT_TYPE, 0, piece.text, at=piece.at))
            self._sent_chars[piece.call] += len(piece.text)
        return out

    def drop(self) -> None:
        """Pieces were lost: calls of which something was sent get no more, since there would be a hole."""
        self._sent_chars = {call: sent for call, sent in self._sent_chars.items() if not sent}
