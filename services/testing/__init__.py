"""For people who write their own harness, hand, driver or bus: the bus in memory, and the contract of every bus.

    server = MemoryServer()
    bus = MemoryBus(server, "my process")

`MemoryServer(Faults())` injects no faults; override the methods of `Faults` to delay, lose, repeat or crash.
The contract is in `holdfast.testing.contracts`, which needs pytest and pytest-asyncio; this module does not.
"""

from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer

__all__ = ["Fate", "Faults", "MemoryBus", "MemoryServer"]
