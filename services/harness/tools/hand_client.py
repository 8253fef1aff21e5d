"""Requests to the sandbox workers of a session: provision, execute, probe, cancel (rules 12, 13, 15, 18).

No request waits for the result of a call: results arrive in the session's inbox.
"""

from typing import Any, Final, Literal, TypeVar

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Answer, Cancel, Execute, Probe, Provision, Provisioned
from holdfast.bus.errors import BusError, Damaged, NoResponders, Refused
from holdfast.bus.head import Sandbox
from holdfast.bus.ids import Key
from holdfast.bus.records import decode_record

WORKER_TIMEOUT_S: Final = 2.0
"""Time to wait for a worker's reply to `execute` and `cancel`."""

PROBE_TIMEOUT_S: Final = 0.3
"""Time to wait for a worker's reply to `probe`, which needs no work."""

PROVISION_TIMEOUT_S: Final = 3.0
"""Time to wait for a sandbox before it is requested again, because its worker may have died. Two requests make one."""

WorkerReply = Literal["accepted", "refused", "cancelled", "gone", "done", "silent"]
"""`gone`: no worker has that sandbox any more. `silent`: no reply came in time."""

T = TypeVar("T", bound=msgspec.Struct)


class HandClient:
    """Sends the requests of one session."""

    def __init__(self, bus: Bus, key: Key) -> None:
        self._bus = bus
        self._key = key

    async def provision(self, environment: dict[str, Any]) -> Provisioned:
        """The session's sandbox; it is made if there is none. Raises NoResponders, Unavailable, Newer, Refused."""
        message = Provision(tenant=self._key.tenant, session=self._key.session, environment=environment)
        raw = await self._bus.core.request(
            subjects.PROVISION, msgspec.json.encode(message), timeout=PROVISION_TIMEOUT_S
        )
        return _decoded(raw, Provisioned)

    async def execute(self, sandbox: Sandbox, call_id: str, name: str, arguments: dict[str, Any]) -> WorkerReply:
        """Run the call in that sandbox. Safe to repeat: a worker runs a call once."""
        message = Execute(
            tenant=self._key.tenant,
            session=self._key.session,
            call=call_id,
            generation=sandbox.generation,
            name=name,
            input=arguments,
        )
        return await self._request(subjects.execute(sandbox.worker), msgspec.json.encode(message))

    async def probe(self, sandbox: Sandbox) -> WorkerReply:
        """Whether that sandbox lives: `accepted` or `gone`."""
        message = Probe(tenant=self._key.tenant, session=self._key.session, generation=sandbox.generation)
        return await self._request(
            subjects.probe(sandbox.worker), msgspec.json.encode(message), timeout_s=PROBE_TIMEOUT_S
        )

    async def cancel(self, sandbox: Sandbox, call_id: str) -> WorkerReply:
        """Kill the call, or make the worker refuse it for ever."""
        message = Cancel(
            tenant=self._key.tenant, session=self._key.session, call=call_id, generation=sandbox.generation
        )
        return await self._request(subjects.cancel(sandbox.worker), msgspec.json.encode(message))

    async def _request(self, subject: str, data: bytes, *, timeout_s: float = WORKER_TIMEOUT_S) -> WorkerReply:
        try:
            return _decoded(await self._bus.core.request(subject, data, timeout=timeout_s), Answer).answer
        except NoResponders:
            return "gone"
        except BusError:
            return "silent"


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return decode_record(kind, raw)
    except Damaged:
        raise Refused("the reply of the sandbox worker cannot be decoded") from None
