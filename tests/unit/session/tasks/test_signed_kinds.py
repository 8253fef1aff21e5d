"""Forged requests cost the bus next to nothing: what is known of a kind is used for some seconds."""

import asyncio

from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.http.api_keys import LOOK_UPS_AT_ONCE
from holdfast.session.http.errors import ApiError
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.signed_kinds import SignedKinds
from holdfast.session.tasks.signing_secrets import SigningSecrets
from holdfast.session.vaults.client import VaultClient
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


async def test_unknown_kinds_are_looked_up_at_a_limited_rate_and_remembered() -> None:
    bus = MemoryBus(MemoryServer(), "test")
    secrets = SigningSecrets(VaultClient(bus.core))
    kinds = SignedKinds(BindingStore(bus.kv, AgentStore(bus.kv), EnvironmentStore(bus.kv), secrets), secrets)
    found = await asyncio.gather(*(kinds.get("t", f"k{n}") for n in range(500)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, ApiError)]
    assert found.count(None) + len(refused) == 500
    assert found.count(None) >= LOOK_UPS_AT_ONCE
    assert {one.status for one in refused} == {429}
    assert await kinds.get("t", "k0") is None, "it is in memory"
