"""The bus over NATS JetStream: `connect` and what it returns. The parts are in `nats_*.py`, one noun each."""

import asyncio
from collections.abc import Awaitable, Callable

from holdfast.bus.api import Delivery
from holdfast.bus.jetstream.consumer import Consumer
from holdfast.bus.jetstream.inbox import NatsInbox
from holdfast.bus.jetstream.kv import NatsBuckets
from holdfast.bus.jetstream.log import NatsLog
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.rpc import NatsCore
from holdfast.bus.jetstream.tail import NatsTail
from holdfast.process.settings import ProcessSettings, credentials


class NatsBus(NatsLog, NatsTail, NatsInbox, NatsBuckets, NatsCore):
    """`api.Bus` over one connection."""

    def __init__(self, link: JetStreamClient) -> None:
        blobs = Blobs(link)
        NatsLog.__init__(self, link, blobs)
        NatsTail.__init__(self, link, self)
        NatsInbox.__init__(self, link, blobs)
        NatsBuckets.__init__(self, link)
        NatsCore.__init__(self, link)

    async def consume(
        self, cell: str, handle: Callable[[Delivery], Awaitable[None]], stop: asyncio.Event, *, limit: int
    ) -> None:
        """See `api.Inbox.consume`."""
        await Consumer(self._link, self, cell, handle, limit).run(stop)

    @property
    def connected(self) -> bool:
        """Whether the connection stands now: for readiness."""
        return self._link.is_up

    async def close(self) -> None:
        """See `api.Bus.close`."""
        await self._link.close()


async def connect(settings: ProcessSettings, *, name: str) -> NatsBus:
    """Connect as the user of the credentials file, under `name`. Raises Unavailable after 30 s, BadSettings."""
    link = JetStreamClient()
    await link.open(settings.nats_url.split(","), name=name, login=credentials(settings.nats_credentials))
    return NatsBus(link)
