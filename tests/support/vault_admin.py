"""Requests to the vault service over the bus, as the edge sends them."""

import base64
import json
from typing import Any

import msgspec
from nacl.public import PublicKey, SealedBox

from holdfast.bus import subjects
from holdfast.bus.commands import VaultReply, VaultRequest
from holdfast.bus.jetstream.client import NatsBus

CANARY = "canary-4f1d-token"
"""Stands in secrets, and in no answer."""


class Admin:
    """What the edge does: asks for the key, seals `auth`, sends the request."""

    def __init__(self, bus: NatsBus, tenant: str = "default") -> None:
        self.bus = bus
        self.tenant = tenant

    async def reply(
        self, verb: str, vault: str = "", credential: str = "", auth: Any = None, **body: Any
    ) -> VaultReply:
        sealed = b"" if auth is None else await self.sealed(auth)
        request = VaultRequest(
            tenant=self.tenant, verb=verb, vault=vault, credential=credential, body=body, sealed=sealed
        )
        data = await self.bus.core.request(subjects.VAULT_ADMIN, msgspec.json.encode(request), timeout=15)
        assert CANARY.encode() not in data
        return msgspec.json.decode(data, type=VaultReply)

    async def sealed(self, auth: Any) -> bytes:
        """`auth`, encrypted for the service."""
        data = await self.bus.core.request(subjects.VAULT_KEY, b"", timeout=10)
        answer = msgspec.json.decode(data, type=VaultReply)
        return SealedBox(PublicKey(base64.b64decode(answer.body["public_key"]))).encrypt(json.dumps(auth).encode())

    async def ok(self, verb: str, vault: str = "", credential: str = "", **rest: Any) -> Any:
        reply = await self.reply(verb, vault, credential, **rest)
        assert reply.status == 200, reply
        return reply.body
