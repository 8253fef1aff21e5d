"""Which output of running tool calls one connection is shown. Pure.

As a preview of a message, it is a prefix of the result: it begins with `event_start`, has no holes, and ends at the
latest with `agent.tool_result`. Its id is that of the `agent.tool_use` event, since the result has none yet. The output
of a call that has printed something before the connection opened is not shown.
"""

from collections.abc import Iterable
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.head import Head

KIND: Final = "agent.tool_result"


class Outputs:
    """The output of the open calls of one session."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        """Characters shown of each open call. A call that is not in here is shown no more."""

    def begin(self, head: Head) -> None:
        """Listen from now on. Calls that have been shown in part get no more, since something may have been missed."""
        self._shown = {call.id: 0 for call in head.calls if call.state != "client"}

    def follow(self, event: ev.Event) -> None:
        """An event of the log was shown: it opens or closes a call."""
        match event:
            case ev.AgentToolUse():
                self._shown[event.id] = 0
            case ev.AgentToolResult():
                self._shown.pop(event.tool_use_id, None)
            case _:
                pass

    def take(self, outputs: Iterable[Output]) -> list[Delta]:
        """What the connection is shown now of these pieces, in order."""
        out: list[Delta] = []
        for piece in outputs:
            shown = self._shown.get(piece.call)
            if shown is None or not piece.text:
                continue
            if piece.at != shown:
                del self._shown[piece.call]
                continue
            if not shown:
                out.append(Delta(piece.call, KIND, start=True))
            out.append(Delta(piece.call, KIND, 0, piece.text, at=piece.at))
            self._shown[piece.call] += len(piece.text)
        return out

    def cut(self) -> None:
        """Pieces were lost: calls that have been shown in part get no more, since they would have a hole."""
        self._shown = {call: shown for call, shown in self._shown.items() if not shown}
