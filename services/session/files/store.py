"""Files in the bucket `files`, under `<tenant>.<id>`: written once, and erased when they are deleted (rule 40)."""

from collections.abc import Callable
from typing import Final, cast

from holdfast.bus.api import KeyValue
from holdfast.bus.streams import FILES
from holdfast.session.files.records import File, FileEntry
from holdfast.session.files.upload_room import Usage
from holdfast.session.storage.kv_store import KvStore, ListEntry


class FileStore:
    """Every method raises ApiError for a mistake of the caller, and BusError."""

    def __init__(self, kv: KeyValue) -> None:
        self.objects: Final = KvStore(kv, FILES, File, label="file", entry=FileEntry, changed=self._note)
        self._usage: dict[str, Usage] = {}

    def usage(self, tenant: str) -> Usage:
        """What the tenant has uploaded. Copies in sessions do not count."""
        return self._usage.get(tenant, Usage())

    def _note(self, tenant: str, before: ListEntry | None, after: ListEntry | None) -> None:
        files, size = _counted(after)
        files_before, size_before = _counted(before)
        usage = self.usage(tenant)
        self._usage[tenant] = Usage(usage.files + files - files_before, usage.size_bytes + size - size_before)

    async def get(self, tenant: str, file_id: str) -> File:
        """Raises ApiError 404."""
        return (await self.objects.get(tenant, file_id))[0]

    async def put(self, tenant: str, file: File) -> None:
        await self.objects.put(tenant, file.id, file, 0)

    async def erase(self, tenant: str, file_id: str) -> File:
        """Erase the record, and return it. Raises ApiError 404."""
        file, revision = await self.objects.get(tenant, file_id)
        await self.objects.erase(tenant, file_id, revision)
        return file

    async def some(self, tenant: str, ids: list[str], scope_id: str | None) -> list[File]:
        """Those of the files that there are, newest first."""
        found = [pair[0] for file_id in ids if (pair := await self.objects.find(tenant, file_id))]
        kept = [file for file in found if scope_id is None or file.scope_id == scope_id]
        return sorted(kept, key=lambda file: file.id, reverse=True)

    async def newest(
        self, tenant: str, *, below: str | None, limit: int, scope_id: str | None
    ) -> tuple[list[File], str | None]:
        """As `KvStore.newest`, of those that belong to that session if one is given."""
        return await self.objects.newest(tenant, below=below, limit=limit, keep=_in_scope(scope_id))


def _counted(entry: ListEntry | None) -> tuple[int, int]:
    """How many files and bytes an entry adds to the usage of its tenant."""
    file = cast("FileEntry | None", entry)
    return (0, 0) if file is None or file.scope_id is not None else (1, file.size_bytes)


def _in_scope(scope_id: str | None) -> Callable[[ListEntry], bool]:
    return lambda entry: scope_id is None or cast("FileEntry", entry).scope_id == scope_id
