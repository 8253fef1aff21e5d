"""Which kinds of tasks take signed webhooks, and by which secrets. What the bus says is used for some seconds, so that
forged requests cost the bus and the vault next to nothing."""

import asyncio
from typing import Final

import msgspec

from holdfast.session.http.errors import ApiError, busy_with_unknown
from holdfast.session.http.token_bucket import TokenBucket
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.bindings import Binding
from holdfast.session.tasks.signing_secrets import SigningSecrets

VALID_S: Final = 3.0
"""Seconds after which a change of a binding, or of its secrets, counts on each replica."""

LOOK_UPS_PER_S: Final = 20.0
LOOK_UPS_AT_ONCE: Final = 50.0
"""How fast kinds that take no webhooks, or are not known, are looked up, and how many at once."""

MAX_KINDS: Final = 10_000
"""Kinds in memory; the one that was looked up first is forgotten first."""


class SignedKind(msgspec.Struct, frozen=True, kw_only=True):
    binding: Binding
    secrets: tuple[str, ...]


class SignedKinds:
    def __init__(self, bindings: BindingStore, secrets: SigningSecrets) -> None:
        self._bindings = bindings
        self._secrets = secrets
        self._known: dict[tuple[str, str], tuple[SignedKind | None, float]] = {}
        """With the loop time of each look."""
        self._look_ups = TokenBucket(LOOK_UPS_PER_S, LOOK_UPS_AT_ONCE)

    async def get(self, tenant: str, kind: str) -> SignedKind | None:
        """None if the kind takes no signed webhooks. Raises ApiError 429 while too many unknown kinds are asked for,
        503; BusError."""
        now = asyncio.get_running_loop().time()
        known = self._known.get((tenant, kind))
        if known and now - known[1] < VALID_S:
            return known[0]
        if not (known and known[0]) and self._look_ups.take(now):
            raise busy_with_unknown()
        found = await self._look(tenant, kind)
        self._known.pop((tenant, kind), None)
        self._known[tenant, kind] = found, now
        if len(self._known) > MAX_KINDS:
            del self._known[next(iter(self._known))]
        return found

    async def _look(self, tenant: str, kind: str) -> SignedKind | None:
        for is_last in (False, True):
            binding = await self._bindings.newest(tenant, kind)
            if binding is None or binding.archived_at is not None or binding.config.signature is None:
                return None
            try:
                secrets = await self._secrets.get(tenant, kind, binding.config.signature.secrets_id)
            except ApiError as exc:
                if exc.status != 404 or is_last:
                    raise
                continue  # they were replaced between the two reads
            return SignedKind(binding=binding, secrets=secrets)
        return None
