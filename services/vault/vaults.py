"""Vaults: create, retrieve, update, list, archive, delete.

The document of a vault decides which credentials exist and which unique keys they have. Each such change is one
check-and-set of that document, so one of two simultaneous changes is refused. The steps of longer operations are in
such an order that after a crash between two of them the same request, sent again, completes them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus.errors import Newer
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.process.backoff import Backoff
from holdfast.process.retry import Attempts
from holdfast.vault import paths
from holdfast.vault.bodies import ListQuery, VaultCreate, VaultUpdate, patched
from holdfast.vault.errors import Missing, NewerDocument, StoreUnavailable, VersionMismatch
from holdfast.vault.records import Credential, Vault
from holdfast.vault.store import Store

CAS_ATTEMPTS: Final = 30
"""Check-and-set writes to try while other writers change the same document first."""

CAS_BACKOFF: Final = Backoff(first_s=0.02, longest_s=0.02, jitter=0.95)
"""Pauses between them: 1 to 20 ms, so that two writers of one document stop colliding."""

CONCURRENT_READS: Final = 8
"""Documents of a list that are read at the same time."""

_encode: Final = msgspec.json.encode
S = TypeVar("S", Vault, Credential)


def text(record: Vault | Credential) -> str:
    """The record as it is stored."""
    return _encode(record).decode()


async def read_as(store: Store, path: str, kind: type[S]) -> tuple[S, int] | None:
    """The record at `path` with the version of its document. Raises NewerDocument, StoreUnavailable, Damaged."""
    found = await store.get(path)
    if found is None:
        return None
    try:
        return decode_record(kind, found.text), found.version
    except Newer:
        raise NewerDocument from None


class Vaults:
    """Operations on vaults. `now` gives microseconds since 1970, UTC."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def create(self, tenant: str, body: VaultCreate) -> dict[str, Any]:
        now = self._now()
        made = Vault(
            id=new_id("vlt"), display_name=body.display_name, metadata=body.metadata, created_at=now, updated_at=now
        )
        try:
            await self._store.put(paths.vault(tenant, made.id), text(made), 0)
        except VersionMismatch:
            raise StoreUnavailable from None  # a new id has no document, so the store is inconsistent
        return made.to_api()

    async def retrieve(self, tenant: str, vault_id: str) -> dict[str, Any]:
        return (await self.read(tenant, vault_id))[0].to_api()

    async def read(self, tenant: str, vault_id: str, *, deleting: bool = False) -> tuple[Vault, int]:
        """The vault and the version of its document. Raises Missing, also during deletion unless `deleting` is set."""
        found = await read_as(self._store, paths.vault(tenant, vault_id), Vault)
        if found is None or (found[0].deleting and not deleting):
            raise Missing("vault")
        return found

    async def change(self, tenant: str, vault_id: str, decide: Callable[[Vault], Vault], **read: bool) -> Vault:
        """Store `decide(vault)`; after a mismatch `decide` is called again with the newer vault. It may raise."""
        async for _ in Attempts(CAS_BACKOFF, limit=CAS_ATTEMPTS):
            vault, version = await self.read(tenant, vault_id, **read)
            changed = decide(vault)
            if changed == vault:
                return vault
            try:
                await self._store.put(paths.vault(tenant, vault_id), text(changed), version)
            except VersionMismatch:
                continue
            return changed
        raise StoreUnavailable("the vault is being changed by too many at once")

    async def update(self, tenant: str, vault_id: str, body: VaultUpdate) -> dict[str, Any]:
        def decide(vault: Vault) -> Vault:
            name = vault.display_name if body.display_name in (UNSET, None) else str(body.display_name)
            changed = replace(vault, display_name=name, metadata=patched(vault.metadata, body.metadata))
            return vault if changed == vault else replace(changed, updated_at=max(self._now(), vault.updated_at + 1))

        return (await self.change(tenant, vault_id, decide)).to_api()

    async def list(self, tenant: str, query: ListQuery) -> dict[str, Any]:
        names = await self._store.names(paths.vaults(tenant))

        async def one(vault_id: str) -> Vault | None:
            found = await read_as(self._store, paths.vault(tenant, vault_id), Vault)
            return found[0] if found and not found[0].deleting else None

        return await page(names, query, one)

    async def archive(self, tenant: str, vault_id: str, archive_credential: Callable[[str], Any]) -> dict[str, Any]:
        """Archive the vault, then each active credential. After the first step none of them may be used."""
        now = self._now()
        vault = await self.change(
            tenant,
            vault_id,
            lambda v: v if v.archived_at else replace(v, archived_at=now, updated_at=max(now, v.updated_at + 1)),
        )
        for credential_id in list(vault.active):
            await archive_credential(credential_id)
        return vault.to_api()

    async def delete(self, tenant: str, vault_id: str) -> dict[str, Any]:
        await self.change(tenant, vault_id, lambda v: replace(v, deleting=True), deleting=True)
        for folder, path in ((paths.secrets, paths.secret), (paths.records, paths.record)):
            for name in await self._store.names(folder(tenant, vault_id)):
                await self._store.purge(path(tenant, vault_id, name))
        await self._store.purge(paths.vault(tenant, vault_id))
        return {"id": vault_id, "type": "vault_deleted"}


async def page(names: list[str], query: ListQuery, read: Callable[[str], Any]) -> dict[str, Any]:
    """One page, newest first, as `{data, next}`; ids sort by time. `next` is the `after` of the next page, or None."""
    names = [name for name in reversed(names) if query.after is None or name < query.after]
    data: list[Any] = []
    last: str | None = None
    for start in range(0, len(names), CONCURRENT_READS):
        part = names[start : start + CONCURRENT_READS]
        for name, found in zip(part, await asyncio.gather(*map(read, part)), strict=True):
            if found is None or (found.archived_at and not query.include_archived):
                continue
            if len(data) == query.limit:
                return {"data": data, "next": last}
            data.append(found.to_api())
            last = name
    return {"data": data, "next": None}
