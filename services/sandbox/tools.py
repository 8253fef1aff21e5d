"""Tool calls in a sandbox: known tools, their time limits, and error results.

The list of tools is `bus/tools.py`; the package `agent` implements them inside the sandbox.
"""

from collections.abc import Mapping

import msgspec

from holdfast.bus.tools import IN_SANDBOX
from holdfast.sandbox.drivers.sandbox import Outcome


def known(name: str) -> bool:
    """True if a sandbox executes the tool `name`."""
    return name in IN_SANDBOX


def unknown_tool(name: str) -> Outcome:
    """The result of a call of a tool that does not exist."""
    return error(f"there is no tool {name[:100]!r}; there are {', '.join(IN_SANDBOX)}")


def error(text: str) -> Outcome:
    """An error result of one sentence."""
    return Outcome([{"type": "text", "text": text}], is_error=True)


class CallTimeouts(msgspec.Struct, frozen=True):
    """Seconds a call may take."""

    usual: float
    most: float

    def limit(self, name: str, arguments: Mapping[str, object]) -> float:
        """Seconds for this call: its own limit if the tool has an argument for it, at most `most`."""
        tool = IN_SANDBOX.get(name)
        wanted = arguments.get(tool.timeout_argument) if tool else None
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted <= 0:
            return self.usual
        return min(wanted / 1000, self.most)


def lost(hand: str, reason: str, kept: str) -> str:
    """The text for the model when a call ended because its hand was lost. `kept` is the sentence of the driver."""
    return (
        f"The {hand} was lost while this call ran: {reason}. The call may have done part of its work. {kept} "
        f"The next call gets a new {hand}."
    )
