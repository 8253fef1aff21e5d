"""How much waits in the streams: numbers for metrics, read without a body but that of the oldest input.

The server answers from what its consumer knows. All of it may be old by the time it arrives, and nothing is decided
from it.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from holdfast.bus import streams, subjects
from holdfast.bus.errors import NoResponders, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.parked import PARKED


class InboxDepth(msgspec.Struct, frozen=True, kw_only=True):
    """The inbox of a cell. `waiting`: no harness was given it yet. `delivered`: a harness has it, or will again.

    `redelivered`: those of `delivered` that were delivered more than once. `oldest_at`: when the oldest that waits was
    stored, in microseconds since 1970; None if none waits.
    """

    waiting: int
    delivered: int
    redelivered: int
    oldest_at: int | None = None


async def inbox_depth(client: JetStreamClient, cell: str) -> InboxDepth:
    """Raises Unavailable."""
    stream = streams.inbox_stream(cell)
    info = await _ask(client, f"CONSUMER.INFO.{stream}.{streams.HARNESS_CONSUMER}")
    waiting = int(info["num_pending"])
    return InboxDepth(
        waiting=waiting,
        delivered=int(info["num_ack_pending"]),
        redelivered=int(info["num_redelivered"]),
        oldest_at=await _stored_at(client, stream, int(info["delivered"]["stream_seq"]) + 1) if waiting else None,
    )


async def _stored_at(client: JetStreamClient, stream: str, seq: int) -> int | None:
    """When the first message from `seq` on was stored; None if there is none any more."""
    answer = await _ask(client, f"STREAM.MSG.GET.{stream}", {"seq": seq, "next_by_subj": ">"})
    return microseconds(answer["message"]["time"]) if "message" in answer else None


async def parked_count(client: JetStreamClient) -> int:
    """The inputs of all cells that were set aside (rule 23). Raises Unavailable."""
    return int((await _ask(client, f"STREAM.INFO.KV_{PARKED}"))["state"]["messages"])


async def stored_task_count(client: JetStreamClient) -> int:
    """The tasks in the queue: not delivered yet, or not acknowledged. Raises Unavailable."""
    info = await _ask(client, f"CONSUMER.INFO.{streams.TASKS_STREAM}.{streams.TASK_CONSUMER}")
    return int(info["num_pending"]) + int(info["num_ack_pending"])


async def last_commit_seq(client: JetStreamClient, cell: str) -> int:
    """The sequence of the last commit of the cell; 0 if there is none. Raises Unavailable."""
    last = await client.leader(streams.log_stream(cell), {"last_by_subj": subjects.all_logs(cell)})
    return last.seq if last else 0


async def sessions(client: JetStreamClient, cell: str, session: str) -> list[Key]:
    """The sessions that have a commit in the log of the cell; `session` is an id, or `*`. Raises Unavailable."""
    found: list[Key] = []
    while True:
        query = {"subjects_filter": f"ev.{cell}.*.{session}", "offset": len(found)}
        info = await _ask(client, f"STREAM.INFO.{streams.log_stream(cell)}", query)
        page: dict[str, int] = info.get("state", {}).get("subjects") or {}
        found += map(subjects.key_of, page)
        if not page or len(found) >= int(info.get("total", 0)):
            return found


async def _ask(client: JetStreamClient, request: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Raises Unavailable, but not if the answer is that there is no such message."""
    try:
        answer = await client.api(request, body)
    except NoResponders:
        raise Unavailable("the stream does not answer") from None
    if "error" in answer and answer["error"].get("code") != 404:
        raise Unavailable(f"the stream refused: {answer['error'].get('description')}")
    if "error" in answer and body is None:
        raise Unavailable(f"there is no {request.rpartition('.')[2]}")
    return answer


def microseconds(text: str) -> int:
    """A time of the JetStream API, such as `2026-11-27T10:00:00.123456789Z`, in microseconds since 1970."""
    found = datetime.fromisoformat(text).astimezone(UTC)
    return int(found.timestamp()) * 1_000_000 + found.microsecond
