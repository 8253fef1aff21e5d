"""For people who write their own harness, hand or driver: the bus in memory, and the contract every bus must keep.

    server = MemoryServer()
    bus = MemoryBus(server, "my process")

`MemoryServer(Faults())` injects no faults; override the methods of `Faults` to delay, lose, repeat or crash.
"""

from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer

__all__ = ["Fate", "Faults", "MemoryBus", "MemoryServer"]
