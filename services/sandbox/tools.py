"""Which tools a sandbox has, and how long each may take. What they do is in `agent.py`; here they pass through."""

from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast.sandbox.drivers.sandbox import Outcome

TOOLS: Final = ("bash", "read", "write", "edit", "glob", "grep")
"""One entry per tool of the agent."""


def known(name: str) -> bool:
    return name in TOOLS


def unknown_tool(name: str) -> Outcome:
    """The result of a call of a tool that does not exist."""
    return error(f"there is no tool {name[:100]!r}; there are {', '.join(TOOLS)}")


def error(text: str) -> Outcome:
    """An error result of one sentence."""
    return Outcome([{"type": "text", "text": text}], is_error=True)


class CallTimeouts(msgspec.Struct, frozen=True):
    """Seconds a call may take."""

    usual: float
    most: float

    def limit(self, name: str, arguments: Mapping[str, object]) -> float:
        """The time of this call: a bash command may ask for its own by `timeout_ms`."""
        wanted = arguments.get("timeout_ms") if name == "bash" else None
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted <= 0:
            return self.usual
        return min(wanted / 1000, self.most)


def lost(reason: str, *, kept: bool = True) -> str:
    """What the model is told when a call ended with its sandbox."""
    files = "Files in /workspace are kept" if kept else "Files in /workspace are not kept"
    return (
        f"The sandbox was lost while this call ran: {reason}. The call may have done part of its work. All processes "
        f"of the sandbox, the state of its shell and /tmp are gone. {files}. The next call gets a new sandbox."
    )
