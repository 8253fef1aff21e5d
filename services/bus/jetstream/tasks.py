"""Tasks over NATS: the work queue on which other systems publish them, and the stream of those that died.

A dead task keeps its body and the headers that say what it is. What the headers of NATS itself asked of the first
stream is left out.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast.bus import streams, subjects
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.consumer import Consumer, Handle
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry

TASK_HEADER: Final = "Holdfast-Task"
"""The id of a task; believed on subjects alone that only the session service may publish on."""

PRIORITY_HEADER: Final = "Holdfast-Priority"
"""`batch`: the task starts behind all others of its kind that wait. Its publisher says so."""

_REASON_HEADER: Final = "Holdfast-Reason"
_MESSAGE_HEADER: Final = "Holdfast-Message"
_DIED_AT_HEADER: Final = "Holdfast-Died-At"
_KIND_HEADER: Final = "Holdfast-Kind"
_OWN_PREFIXES: Final = ("nats-", "holdfast-")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Names of headers that a client sends; the server takes any."""

PAGE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of dead letters above which one read of them ends."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A task that could not be carried out, as it was published. `died_at` in microseconds since 1970."""

    seq: int
    tenant: str
    kind: str
    task: str
    reason: str
    message: str
    died_at: int
    bound: bool = True
    """False: there was no binding. Such letters of all kinds of a tenant have one limit, and a shorter life."""
    headers: dict[str, str]
    data: bytes


class NatsTasks:
    """Every method raises BusError."""

    def __init__(self, client: JetStreamClient) -> None:
        self._client = client

    async def consume(self, handle: Handle, stop: asyncio.Event, *, limit: int) -> None:
        """Hand each delivery to `handle`, at most `limit` at once, until `stop`; then return when those are done."""
        await Consumer(self._client, streams.TASKS_STREAM, streams.TASK_CONSUMER, handle, limit, log_field="kind").run(
            stop
        )

    async def publish(self, tenant: str, kind: str, task: str, headers: Mapping[str, str], data: bytes) -> None:
        """Store a task that came over HTTP or by request, under its id.

        Raises InboxFull and StorageFull while too many wait, and TooLarge.
        """
        named = {**_foreign(headers), TASK_HEADER: task, "Nats-Msg-Id": new_id("again")}
        await retry(self._client, self._client.store, subjects.task_again(tenant, kind), data, named)

    async def waits(self, seq: int) -> bool:
        """Whether the message with that sequence is still in the queue, as its leader has it."""
        return await retry(self._client, self._client.leader, streams.TASKS_STREAM, {"seq": seq}) is not None

    async def publish_again(self, letter: DeadLetter) -> None:
        """Publish the bytes of a dead letter once more."""
        headers = {**letter.headers, TASK_HEADER: letter.task, "Nats-Msg-Id": new_id("again")}
        subject = subjects.task_again(letter.tenant, letter.kind)
        await retry(self._client, self._client.store, subject, letter.data, headers)

    async def bury(self, letter: DeadLetter) -> int:
        """Store a dead letter, and return its sequence; the one in `letter` is not read."""
        headers = {
            **_foreign(letter.headers),
            TASK_HEADER: letter.task,
            _REASON_HEADER: letter.reason,
            _MESSAGE_HEADER: msgspec.json.encode(letter.message).decode(),
            _DIED_AT_HEADER: str(letter.died_at),
            _KIND_HEADER: letter.kind,
            "Nats-Msg-Id": new_id("dead"),  # one of its own each time: the letter of an earlier death may be erased
        }
        if not letter.bound:
            headers["Nats-TTL"] = f"{streams.UNBOUND_TASK_DAYS * 24}h"
        subject = subjects.dead_task(letter.tenant, letter.kind if letter.bound else subjects.UNBOUND)
        return await retry(self._client, self._client.store, subject, letter.data, headers)

    async def dead(self, tenant: str, after: int, *, limit: int) -> tuple[list[DeadLetter], bool]:
        """The first dead letters of the tenant with a sequence above `after`; and whether there are more behind."""
        subject = subjects.dead_tasks(tenant)
        found, left = await retry(
            self._client, self._client.batch, streams.DEAD_TASKS_STREAM, subject,
            seq=after + 1, limit=limit, max_bytes=PAGE_BYTES,
        )  # fmt: skip
        return [_letter(one) for one in found], left > 0

    async def dead_letter(self, seq: int) -> DeadLetter | None:
        """The dead letter with that sequence; None once it was dropped."""
        found = await retry(self._client, self._client.leader, streams.DEAD_TASKS_STREAM, {"seq": seq})
        return _letter(found) if found else None

    async def erase(self, seq: int) -> None:
        """Remove a dead letter and overwrite its bytes on the disk; there need not be one."""
        await retry(self._client, self._client.erase, streams.DEAD_TASKS_STREAM, seq)


def header_bytes(headers: Mapping[str, str]) -> int:
    """The size of headers in a message."""
    return sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())


def _foreign(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are the publisher's, as far as they can be stored once more; none if they are too large."""
    if header_bytes(headers) > streams.MAX_TASK_HEADER_BYTES:
        return {}
    return {
        name: value
        for name, value in headers.items()
        if _NAME.fullmatch(name)
        and (not name.lower().startswith(_OWN_PREFIXES) or name.lower() == PRIORITY_HEADER.lower())
    }


def _letter(message: RawMessage) -> DeadLetter:
    _, tenant, kind = subjects.task_of(message.subject)
    headers = message.headers
    return DeadLetter(
        seq=message.seq,
        tenant=tenant,
        kind=headers.get(_KIND_HEADER, kind),
        task=headers.get(TASK_HEADER, ""),
        reason=headers.get(_REASON_HEADER, ""),
        message=msgspec.json.decode(headers.get(_MESSAGE_HEADER, '""'), type=str),
        died_at=int(headers.get(_DIED_AT_HEADER, "0")),
        bound=kind != subjects.UNBOUND,
        headers=_foreign(headers),
        data=message.data,
    )
