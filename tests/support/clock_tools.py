"""The tools of a second hand, `clock`, as one line each in the catalogue, for tests of two hands in one session."""

import contextlib
from collections.abc import Generator
from typing import Final

from holdfast.bus import tools
from holdfast.bus.tools import BuiltInTool

CLOCK: Final = "clock"
"""Name and kind of the hand."""

NOW: Final = BuiltInTool(name="now", description="The time of the clock, in seconds.", hand=CLOCK, read_only=True)
SLEEP: Final = BuiltInTool(
    name="sleep",
    description="Wait.",
    properties={"seconds": {"type": "number"}},
    required=("seconds",),
    hand=CLOCK,
    read_only=True,
)


@contextlib.contextmanager
def clock_tools() -> Generator[None]:
    """The catalogue of this process has `now` and `sleep` inside the block."""
    added = {tool.name: tool for tool in (NOW, SLEEP)}
    for catalogue in (tools.BY_NAME, tools.EXECUTABLE):
        catalogue.update(added)
    try:
        yield
    finally:
        for name in added:
            del tools.BY_NAME[name], tools.EXECUTABLE[name]
