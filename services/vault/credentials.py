"""Credentials of a vault: create, retrieve, update, list, archive, delete.

A credential is three entries: its secret, its public record, and its id in `active` of the vault. It exists if its id
is in `active` or its record is archived. Order of the writes: create secret, record, `active`; archive record, secret,
`active`; delete secret, record, `active`.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus.ids import new_id, time_of
from holdfast.process.retry import Attempts
from holdfast.vault import kinds, paths
from holdfast.vault.bodies import CredentialCreate, CredentialUpdate, ListQuery, patched
from holdfast.vault.errors import Conflict, Invalid, Missing, StoreUnavailable, VersionMismatch
from holdfast.vault.records import Credential, Vault
from holdfast.vault.store import Store
from holdfast.vault.vaults import CAS_ATTEMPTS, CAS_BACKOFF, Vaults, page, read_as, text

MAX_ACTIVE_CREDENTIALS: Final = 20
"""Active credentials that one vault may have."""

ORPHAN_SECRET_AGE_US: Final = 600 * 1_000_000
"""Age from which a secret without a credential is a remnant of a create that did not finish."""


def _text(secret: dict[str, str]) -> str:
    """The secret as it is stored."""
    return msgspec.json.encode(secret).decode()


class Credentials:
    """Operations on credentials. `loopback` allows http addresses on loopback."""

    def __init__(self, store: Store, vaults: Vaults, now: Callable[[], int], *, loopback: bool) -> None:
        self._store = store
        self._vaults = vaults
        self._now = now
        self._loopback = loopback

    async def create(self, tenant: str, vault_id: str, body: CredentialCreate, auth: dict[str, Any]) -> dict[str, Any]:
        split = kinds.create(auth, loopback=self._loopback)
        vault, _ = await self._vaults.read(tenant, vault_id)
        await self._clean_up(tenant, vault, split.unique)
        now = self._now()
        made = Credential(
            id=new_id("vcrd"), vault=vault_id, display_name=body.display_name, metadata=body.metadata,
            auth=split.public, created_at=now, updated_at=now,
        )  # fmt: skip
        try:
            await self._store.put(paths.secret(tenant, vault_id, made.id), _text(split.secret), 0)
            await self._store.put(paths.record(tenant, vault_id, made.id), text(made), 0)
            await self._vaults.change(tenant, vault_id, lambda v: _with(v, made.id, split.unique))
        except (Conflict, Invalid, Missing):
            await self._forget(tenant, vault_id, made.id)
            raise
        except VersionMismatch:
            raise StoreUnavailable from None  # a new id has no document, so the store is inconsistent
        return made.to_api()

    async def retrieve(self, tenant: str, vault_id: str, credential_id: str) -> dict[str, Any]:
        return (await self._read(tenant, vault_id, credential_id))[0].to_api()

    async def _read(self, tenant: str, vault_id: str, credential_id: str) -> tuple[Credential, int]:
        vault, _ = await self._vaults.read(tenant, vault_id)
        found = await read_as(self._store, paths.record(tenant, vault_id, credential_id), Credential)
        if found is None or not _exists(vault, found[0]):
            raise Missing("credential")
        return found

    async def update(
        self, tenant: str, vault_id: str, credential_id: str, body: CredentialUpdate, auth: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Store a new secret, then the record. If the second write fails, the same request can be sent again."""
        async for _ in Attempts(CAS_BACKOFF, limit=CAS_ATTEMPTS):
            found, version = await self._read(tenant, vault_id, credential_id)
            if found.archived_at:
                raise Invalid("credential: is archived")
            public, secret = kinds.update(found.auth, auth) if auth is not None else (found.auth, None)
            name = found.display_name if body.display_name is UNSET else body.display_name
            changed = replace(
                found, auth=public, display_name=name or None, metadata=patched(found.metadata, body.metadata)
            )
            if changed == found and secret is None:
                return found.to_api()
            changed = replace(changed, updated_at=max(self._now(), found.updated_at + 1))
            try:
                if secret is not None:
                    await self._replace_secret(paths.secret(tenant, vault_id, credential_id), secret)
                await self._store.put(paths.record(tenant, vault_id, credential_id), text(changed), version)
            except VersionMismatch:
                continue
            return changed.to_api()
        raise StoreUnavailable("the credential is being changed by too many at once")

    async def _replace_secret(self, path: str, secret: dict[str, str]) -> None:
        version = await self._store.version(path)
        if not version:
            raise VersionMismatch  # archived meanwhile: its secret must not be stored again
        await self._store.put(path, _text(secret), version)

    async def list(self, tenant: str, vault_id: str, query: ListQuery) -> dict[str, Any]:
        vault, _ = await self._vaults.read(tenant, vault_id)
        names = await self._store.names(paths.records(tenant, vault_id))

        async def one(credential_id: str) -> Credential | None:
            found = await read_as(self._store, paths.record(tenant, vault_id, credential_id), Credential)
            return found[0] if found and _exists(vault, found[0]) else None

        return await page(names, query, one)

    async def archive(self, tenant: str, vault_id: str, credential_id: str) -> dict[str, Any]:
        """Store the record as archived, remove the secret, free the unique key. A repeated archive completes these."""
        async for _ in Attempts(CAS_BACKOFF, limit=CAS_ATTEMPTS):
            found, version = await self._read(tenant, vault_id, credential_id)
            if not found.archived_at:
                now = max(self._now(), found.updated_at + 1)
                found = replace(found, archived_at=now, updated_at=now)
                try:
                    await self._store.put(paths.record(tenant, vault_id, credential_id), text(found), version)
                except VersionMismatch:
                    continue
            await self._store.purge(paths.secret(tenant, vault_id, credential_id))
            await self._vaults.change(tenant, vault_id, lambda v: _without(v, credential_id))
            return found.to_api()
        raise StoreUnavailable("the credential is being changed by too many at once")

    async def delete(self, tenant: str, vault_id: str, credential_id: str) -> dict[str, Any]:
        await self._read(tenant, vault_id, credential_id)
        await self._forget(tenant, vault_id, credential_id)
        await self._vaults.change(tenant, vault_id, lambda v: _without(v, credential_id))
        return {"id": credential_id, "type": "vault_credential_deleted"}

    async def _forget(self, tenant: str, vault_id: str, credential_id: str) -> None:
        await self._store.purge(paths.secret(tenant, vault_id, credential_id))
        await self._store.purge(paths.record(tenant, vault_id, credential_id))

    async def _clean_up(self, tenant: str, vault: Vault, unique: str) -> None:
        """Complete operations that a crash interrupted.

        Removes secrets without a credential, and frees the unique key if an archived or deleted credential has it.
        """
        now = self._now()
        for name in await self._store.names(paths.secrets(tenant, vault.id)):
            if name not in vault.active and now - (time_of(name) or 0) > ORPHAN_SECRET_AGE_US:
                await self._forget_orphan(tenant, vault.id, name)
        holder = next((id_ for id_, key in vault.active.items() if key == unique), None)
        if holder is None:
            return
        found = await read_as(self._store, paths.record(tenant, vault.id, holder), Credential)
        if found is None:
            await self._vaults.change(tenant, vault.id, lambda v: _without(v, holder))
        elif found[0].archived_at:
            await self.archive(tenant, vault.id, holder)

    async def _forget_orphan(self, tenant: str, vault_id: str, credential_id: str) -> None:
        found = await read_as(self._store, paths.record(tenant, vault_id, credential_id), Credential)
        await self._store.purge(paths.secret(tenant, vault_id, credential_id))
        if found and not found[0].archived_at:
            await self._store.purge(paths.record(tenant, vault_id, credential_id))


def _exists(vault: Vault, credential: Credential) -> bool:
    return bool(credential.archived_at) or credential.id in vault.active


def _with(vault: Vault, credential_id: str, unique: str) -> Vault:
    if vault.archived_at:
        raise Invalid("vault: is archived")
    holder = next((id_ for id_, key in vault.active.items() if key == unique), None)
    if holder:
        raise Conflict(
            f"auth: the active credential {holder} of this vault is for the same server; archive or update it"
        )
    if len(vault.active) >= MAX_ACTIVE_CREDENTIALS:
        raise Invalid(f"vault: has {MAX_ACTIVE_CREDENTIALS} active credentials, which is the limit")
    return replace(vault, active={**vault.active, credential_id: unique})


def _without(vault: Vault, credential_id: str) -> Vault:
    return replace(vault, active={id_: key for id_, key in vault.active.items() if id_ != credential_id})
