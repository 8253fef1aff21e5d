"""Event streams, read byte by byte or through the SDK, and the deltas that a harness would publish."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import msgspec

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.commands import Delta
from holdfast.bus.ids import new_id
from tests.support.edge import SessionService
from tests.support.session_log import SessionLog

DELTAS = ["agent.message", "agent.thinking"]


class Frame(msgspec.Struct):
    """One server-sent event as it came over the wire."""

    event: str
    id: str
    data: dict[str, Any]


@contextlib.asynccontextmanager
async def raw(edge: SessionService, session: str, query: str = "", **headers: str) -> AsyncGenerator[httpx.Response]:
    headers = {"authorization": f"Bearer {edge.key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    async with (
        httpx.AsyncClient(base_url=edge.base_url, headers=headers, timeout=30, trust_env=False) as http,
        http.stream("GET", f"/v1/sessions/{session}/events/stream{query}") as answer,
    ):
        yield answer


async def frames(answer: httpx.Response) -> AsyncIterator[Frame]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            yield Frame(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


async def take(found: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [await anext(found) for _ in range(count)]


async def tell(log: SessionLog, *deltas: Delta) -> None:
    await log.bus.core.publish(subjects.delta(log.key), msgspec.json.encode(list(deltas)))


def text_of(event: Any) -> str:
    return event.content[0].text


def request_ends(request: str) -> ev.ModelRequestEnd:
    return ev.ModelRequestEnd(id=new_id("sevt"), model_request_start_id=request, model_usage=ev.ModelUsage())
