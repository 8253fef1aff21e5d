"""`api.Bus` in memory."""

from holdfast.testing.memory.core import MemoryCore
from holdfast.testing.memory.inbox import MemoryInbox
from holdfast.testing.memory.kv import MemoryKeyValue
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.log import MemoryLog
from holdfast.testing.memory.server import MemoryServer


class MemoryBus:
    """`api.Bus` in memory: one process, named `name`, at the server."""

    def __init__(self, server: MemoryServer, name: str = "test") -> None:
        self.server = server
        self._link = MemoryLink(server, name)
        self.log = MemoryLog(self._link)
        self.inbox = MemoryInbox(self._link)
        self.kv = MemoryKeyValue(self._link)
        self.core = MemoryCore(self._link)

    @property
    def connected_since(self) -> float:
        """See `api.Bus.connected_since`: the connection in memory never breaks while its process lives."""
        return 0.0

    @property
    def dead(self) -> bool:
        """True once the process was killed or has closed the bus."""
        return self._link.dead

    def kill(self) -> None:
        """From now on nothing this process does has an effect, and nothing reaches it."""
        self._link.kill()

    async def close(self) -> None:
        """See `api.Bus.close`."""
        self._link.kill()
