"""The bus over NATS JetStream: `connect`, and the `NatsBus` that it returns."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from holdfast.bus import streams
from holdfast.bus.errors import BusError, OtherProtocol
from holdfast.bus.ids import Key
from holdfast.bus.jetstream import depths
from holdfast.bus.jetstream.depths import InboxDepth
from holdfast.bus.jetstream.file_chunks import NatsFileChunks
from holdfast.bus.jetstream.inbox import NatsInbox
from holdfast.bus.jetstream.kv import NatsKeyValue
from holdfast.bus.jetstream.log import NatsLog
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.own_account import warn_if_shared
from holdfast.bus.jetstream.protocol import check_protocol
from holdfast.bus.jetstream.public_events import NatsPublicEvents
from holdfast.bus.jetstream.public_reads import NatsPublicReads
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.rpc import NatsCore
from holdfast.bus.jetstream.task_requests import TaskRequests
from holdfast.bus.jetstream.tasks import NatsTasks
from holdfast.process.settings import BadSettings, ProcessSettings, credentials


class NatsBus:
    """`api.Bus` over one connection."""

    def __init__(self, client: JetStreamClient, cells: Sequence[str] = ()) -> None:
        """`cells`: those whose streams this process works on."""
        blobs = Blobs(client)
        self._client = client
        self._cells = tuple(cells)
        self.log = NatsLog(client, blobs)
        self.inbox = NatsInbox(client, blobs)
        self.kv = NatsKeyValue(client)
        self.core = NatsCore(client)
        self.public = NatsPublicEvents(client)
        self.public_reads = NatsPublicReads(client)
        self.tasks = NatsTasks(client)
        self.file_chunks = NatsFileChunks(client)
        self.task_requests = TaskRequests(client)
        self._note_connection()
        client.on_reconnect.add(self._note_connection)

    def _note_connection(self) -> None:
        self._connected_since = asyncio.get_running_loop().time()

    @property
    def connected_since(self) -> float:
        """See `api.Bus.connected_since`."""
        return self._connected_since

    @property
    def connected(self) -> bool:
        """True while the connection stands."""
        return self._client.is_up

    async def answers(self) -> bool:
        """Whether the server answers now, and the leader of the inbox of a cell if there are any: for readiness.

        One cell is enough: the sessions of the others would have no better replica.
        """
        if not self._cells:
            return await self._does(self._client.flush())
        for cell in self._cells:  # in turn: the first one nearly always answers
            if await self._does(self._client.api(f"STREAM.INFO.{streams.inbox_stream(cell)}")):
                return True
        return False

    async def inbox_depth(self, cell: str) -> InboxDepth:
        """What waits in the inbox of the cell, for metrics. Raises Unavailable."""
        return await depths.inbox_depth(self._client, cell)

    async def sessions(self, cell: str, session: str = "*") -> list[Key]:
        """The sessions with that id, or all, in the log of the cell, for administrators. Raises Unavailable."""
        return await depths.sessions(self._client, cell, session)

    async def parked_count(self) -> int:
        """How many inputs were set aside, for metrics. Raises Unavailable."""
        return await depths.parked_count(self._client)

    async def stored_task_count(self) -> int:
        """How many tasks are in the queue, for metrics. Raises Unavailable."""
        return await depths.stored_task_count(self._client)

    async def last_commit_seq(self, cell: str) -> int:
        """The sequence of the last commit of the cell, for metrics. Raises Unavailable."""
        return await depths.last_commit_seq(self._client, cell)

    @staticmethod
    async def _does(request: Awaitable[dict[str, Any] | None]) -> bool:
        """Whether the request is answered without an error."""
        try:
            answer = await request
        except BusError:
            return False
        return answer is None or "error" not in answer

    async def close(self) -> None:
        """See `api.Bus.close`."""
        await self._client.close()


async def connect(
    settings: ProcessSettings,
    *,
    name: str,
    uses_streams: bool = True,
    cells: Sequence[str] = (),
    own_account: bool = False,
) -> NatsBus:
    """Connect as the user of the credentials file, under `name`. Raises Unavailable after 30 s, BadSettings.

    BadSettings also if the streams of `cells`, or of the cell of the settings, are of another protocol than this
    version's. Not `uses_streams`: they are not looked at. `own_account`: warn if the user is in that of the streams.
    """
    client = JetStreamClient()
    login = credentials(settings.nats_credentials)
    await client.open(settings.nats_url.split(","), name=name, login=login)
    try:
        if own_account and login:
            await warn_if_shared(client)
        if uses_streams:
            for cell in cells or (settings.cell,):
                await check_protocol(client, cell)
    except OtherProtocol as exc:
        await client.close()
        raise BadSettings(str(exc)) from None
    except BaseException:
        await client.close()
        raise
    return NatsBus(client, (cells or (settings.cell,)) if uses_streams else ())
