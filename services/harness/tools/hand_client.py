"""The hands of a session as the harness sees them: provision, execute, cancel over the bus (rules 12, 13, 15, 18).

Nothing here waits for a result: results arrive in the session's inbox.
"""

from typing import Any, Literal

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Execute, Probe, Provision, Provisioned
from holdfast.bus.errors import BusError, NoResponders, Refused
from holdfast.bus.head import Sandbox
from holdfast.bus.ids import Key

ASK = 2.0
"""Seconds to wait for a worker's answer before it is asked again."""

QUICK = 0.3
"""Seconds to wait for an answer that needs no work."""

PROVISION = 3.0
"""Seconds before a sandbox is asked for again: its worker may have died while it made one. Asking twice makes one."""

Said = Literal["accepted", "refused", "cancelled", "gone", "done", "silent"]


class HandClient:
    """Requests to sandbox workers on behalf of one session."""

    def __init__(self, bus: Bus, key: Key) -> None:
        self._bus = bus
        self._key = key

    async def provision(self, environment: dict[str, Any]) -> Provisioned:
        """The session's sandbox, made if there is none. Raises NoResponders, Unavailable."""
        ask = Provision(tenant=self._key.tenant, session=self._key.session, environment=environment)
        raw = await self._bus.core.request(subjects.PROVISION, msgspec.json.encode(ask), timeout=PROVISION)
        return _decoded(raw, Provisioned)

    async def execute(self, sandbox: Sandbox, call: str, name: str, arguments: dict[str, Any]) -> Said:
        """Have the call run in that sandbox; `silent`: no answer, ask again."""
        ask = Execute(
            tenant=self._key.tenant,
            session=self._key.session,
            call=call,
            generation=sandbox.generation,
            name=name,
            input=arguments,
        )
        return await self._say(subjects.execute(sandbox.worker), msgspec.json.encode(ask))

    async def probe(self, sandbox: Sandbox) -> Said:
        """Whether that sandbox lives: `accepted` or `gone`; `silent`: no answer."""
        ask = Probe(tenant=self._key.tenant, session=self._key.session, generation=sandbox.generation)
        return await self._say(subjects.probe(sandbox.worker), msgspec.json.encode(ask), within=QUICK)

    async def cancel(self, sandbox: Sandbox, call: str) -> Said:
        """Have the call killed, or refused for ever."""
        ask = Cancel(tenant=self._key.tenant, session=self._key.session, call=call, generation=sandbox.generation)
        return await self._say(subjects.cancel(sandbox.worker), msgspec.json.encode(ask))

    async def _say(self, subject: str, data: bytes, *, within: float = ASK) -> Said:
        try:
            return _decoded(await self._bus.core.request(subject, data, timeout=within), Answer).answer
        except NoResponders:
            return "gone"
        except BusError:
            return "silent"


T = Any


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError:
        raise Refused("the worker's answer is not of the agreed form") from None
