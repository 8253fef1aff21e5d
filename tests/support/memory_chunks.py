"""`api.FileChunks` in memory, for tests of what decides about the bytes of files."""

from holdfast.bus.errors import LostBody


class MemoryFileChunks:
    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], dict[int, bytes]] = {}

    async def put(self, tenant: str, content: str, index: int, data: bytes) -> None:
        self.stored.setdefault((tenant, content), {}).setdefault(index, data)

    async def get(self, tenant: str, content: str, index: int) -> bytes:
        try:
            return self.stored[tenant, content][index]
        except KeyError:
            raise LostBody(content) from None

    async def erase(self, tenant: str, content: str) -> int:
        return len(self.stored.pop((tenant, content), {}))
