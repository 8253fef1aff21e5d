"""The bus over NATS JetStream: `connect`, and the `NatsBus` that it returns."""

from holdfast.bus.jetstream.inbox import NatsInbox
from holdfast.bus.jetstream.kv import NatsKeyValue
from holdfast.bus.jetstream.log import NatsLog
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.rpc import NatsCore
from holdfast.process.settings import ProcessSettings, credentials


class NatsBus:
    """`api.Bus` over one connection."""

    def __init__(self, client: JetStreamClient) -> None:
        blobs = Blobs(client)
        self._client = client
        self.log = NatsLog(client, blobs)
        self.inbox = NatsInbox(client, blobs)
        self.kv = NatsKeyValue(client)
        self.core = NatsCore(client)

    @property
    def connected(self) -> bool:
        """True while the connection stands: for readiness."""
        return self._client.is_up

    async def close(self) -> None:
        """See `api.Bus.close`."""
        await self._client.close()


async def connect(settings: ProcessSettings, *, name: str) -> NatsBus:
    """Connect as the user of the credentials file, under `name`. Raises Unavailable after 30 s, BadSettings."""
    client = JetStreamClient()
    await client.open(settings.nats_url.split(","), name=name, login=credentials(settings.nats_credentials))
    return NatsBus(client)
