"""The trace of a request goes on in its handler; what went through a stream is only linked (observability.md)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from holdfast.bus import trace as bus_trace
from holdfast.bus.api import Delivery, Message
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.settings import ProcessSettings
from tests.support.servers import nats_server

SPAN = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(1))


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[NatsBus]:
    async with nats_server(tmp_path / "nats") as server:
        made = await connect(ProcessSettings(nats_url=server.url), name="test")
        yield made
        await made.close()


def linked() -> SpanContext:
    found = context.get_value(bus_trace.LINK)
    assert isinstance(found, SpanContext)
    return found


async def test_a_handler_runs_under_the_span_of_its_caller(bus: NatsBus) -> None:
    async def handle(_: bytes) -> bytes:
        return str(trace.get_current_span().get_span_context().span_id).encode()

    await bus.core.serve("cmd.hand.a0.w.a.exec", handle)
    with trace.use_span(NonRecordingSpan(SPAN)):
        assert await bus.core.request("cmd.hand.a0.w.a.exec", b"", timeout=5) == str(SPAN.span_id).encode()
    assert await bus.core.request("cmd.hand.a0.w.a.exec", b"", timeout=5) == b"0", "none is invented"


async def test_a_delivery_is_linked_to_the_span_of_its_publisher(bus: NatsBus) -> None:
    stop, found = asyncio.Event(), list[tuple[int, SpanContext]]()

    async def handle(delivery: Delivery) -> None:
        found.append((trace.get_current_span().get_span_context().span_id, linked()))
        await delivery.ack()
        stop.set()

    with trace.use_span(NonRecordingSpan(SPAN)):
        await bus.inbox.put(Key("acme", new_session_id()), Nudge(id=new_id("ndg")))
    await asyncio.wait_for(bus.inbox.consume(FIRST_CELL, handle, stop, limit=1), 10)
    (current, link), *_ = found
    assert (current, link.span_id, link.trace_id) == (0, SPAN.span_id, SPAN.trace_id)


async def test_a_listener_is_linked_to_the_span_of_the_publisher(bus: NatsBus) -> None:
    heard: asyncio.Queue[SpanContext] = asyncio.Queue()

    async def hear(_: Message) -> None:
        heard.put_nowait(linked())

    await bus.core.subscribe("delta.a.b", hear)
    with trace.use_span(NonRecordingSpan(SPAN)):
        await bus.core.publish("delta.a.b", b"")
    assert (await asyncio.wait_for(heard.get(), 5)).span_id == SPAN.span_id


def test_the_spelling_of_a_header_does_not_matter() -> None:
    headers = {"Traceparent": f"00-{SPAN.trace_id:032x}-{SPAN.span_id:016x}-03"}
    with bus_trace.under(headers, link=False):
        assert trace.get_current_span().get_span_context().span_id == SPAN.span_id
    with bus_trace.under({"Traceparent": "nonsense"}, link=False):
        assert not trace.get_current_span().get_span_context().is_valid
