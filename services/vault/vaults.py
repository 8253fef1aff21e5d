"""Vaults: create, retrieve, update, list, archive, delete.

The document of a vault is the one place where it is decided which credentials exist and which keys they hold: every
such change is one check-and-set of it, so of two at the same time one is refused. What takes several steps is ordered
so that a crash between any two leaves something that the same request, sent again, completes.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus.ids import new_id
from holdfast.vault import paths
from holdfast.vault.bodies import ListQuery, VaultCreate, VaultUpdate, patched
from holdfast.vault.errors import Missing, StoreUnavailable, VersionMismatch
from holdfast.vault.records import Credential, Vault
from holdfast.vault.store import Store

CAS_TRIES: Final = 30
"""Attempts at a change that others get in the way of; each time one of them has succeeded."""

READS_AT_ONCE: Final = 8

_encode: Final = msgspec.json.encode
S = TypeVar("S", Vault, Credential)


def text(record: Vault | Credential) -> str:
    return _encode(record).decode()


async def read_as(store: Store, path: str, kind: type[S]) -> tuple[S, int] | None:
    """The record at `path` with its version. Raises Closed."""
    found = await store.get(path)
    return (msgspec.json.decode(found.text, type=kind), found.version) if found else None


async def pause() -> None:
    """A moment of chance, so that two writers do not meet for ever."""
    await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311


class Vaults:
    """`now` gives microseconds since 1970, UTC."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def create(self, tenant: str, body: VaultCreate) -> dict[str, Any]:
        now = self._now()
        made = Vault(id=new_id("vlt"), display_name=body.display_name, metadata=body.metadata, created=now, updated=now)
        try:
            await self._store.put(paths.vault(tenant, made.id), text(made), 0)
        except VersionMismatch:
            raise StoreUnavailable from None  # a fresh id cannot be there
        return made.wire()

    async def retrieve(self, tenant: str, vault_id: str) -> dict[str, Any]:
        return (await self.read(tenant, vault_id))[0].wire()

    async def read(self, tenant: str, vault_id: str, *, deleting: bool = False) -> tuple[Vault, int]:
        """The vault and the version of its document. Raises Missing; one being deleted is seen only if asked for."""
        found = await read_as(self._store, paths.vault(tenant, vault_id), Vault)
        if found is None or (found[0].deleting and not deleting):
            raise Missing("vault")
        return found

    async def change(self, tenant: str, vault_id: str, decide: Callable[[Vault], Vault], **read: bool) -> Vault:
        """Replace the vault by what `decide` makes of it, which may be called again on a newer one, or may raise."""
        for _ in range(CAS_TRIES):
            vault, version = await self.read(tenant, vault_id, **read)
            changed = decide(vault)
            if changed == vault:
                return vault
            try:
                await self._store.put(paths.vault(tenant, vault_id), text(changed), version)
            except VersionMismatch:
                await pause()
                continue
            return changed
        raise StoreUnavailable("the vault is being changed by too many at once")

    async def update(self, tenant: str, vault_id: str, body: VaultUpdate) -> dict[str, Any]:
        def decide(vault: Vault) -> Vault:
            name = vault.display_name if body.display_name in (UNSET, None) else str(body.display_name)
            changed = replace(vault, display_name=name, metadata=patched(vault.metadata, body.metadata))
            return vault if changed == vault else replace(changed, updated=max(self._now(), vault.updated + 1))

        return (await self.change(tenant, vault_id, decide)).wire()

    async def list(self, tenant: str, query: ListQuery) -> dict[str, Any]:
        names = await self._store.names(paths.vaults(tenant))

        async def one(vault_id: str) -> Vault | None:
            found = await read_as(self._store, paths.vault(tenant, vault_id), Vault)
            return found[0] if found and not found[0].deleting else None

        return await page(names, query, one)

    async def archive(self, tenant: str, vault_id: str, archive_credential: Callable[[str], Any]) -> dict[str, Any]:
        """Archive the vault, then each active credential: from the first step on none of them may be used."""
        now = self._now()
        vault = await self.change(
            tenant, vault_id, lambda v: v if v.archived else replace(v, archived=now, updated=max(now, v.updated + 1))
        )
        for credential_id in list(vault.active):
            await archive_credential(credential_id)
        return vault.wire()

    async def delete(self, tenant: str, vault_id: str) -> dict[str, Any]:
        await self.change(tenant, vault_id, lambda v: replace(v, deleting=True), deleting=True)
        for folder, path in ((paths.secrets, paths.secret), (paths.records, paths.record)):
            for name in await self._store.names(folder(tenant, vault_id)):
                await self._store.purge(path(tenant, vault_id, name))
        await self._store.purge(paths.vault(tenant, vault_id))
        return {"id": vault_id, "type": "vault_deleted"}


async def page(names: list[str], query: ListQuery, read: Callable[[str], Any]) -> dict[str, Any]:
    """One page of a list, newest first (ids sort by time): `{data, next}`, where `next` is the id to go on after."""
    names = [name for name in reversed(names) if query.after is None or name < query.after]
    data: list[Any] = []
    last: str | None = None
    for start in range(0, len(names), READS_AT_ONCE):
        part = names[start : start + READS_AT_ONCE]
        for name, found in zip(part, await asyncio.gather(*map(read, part)), strict=True):
            if found is None or (found.archived and not query.include_archived):
                continue
            if len(data) == query.limit:
                return {"data": data, "next": last}
            data.append(found.wire())
            last = name
    return {"data": data, "next": None}
