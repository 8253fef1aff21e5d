"""Spans with chosen ids, and spans that are cut because they last long."""

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from holdfast.bus import trace as bus_trace
from holdfast.bus.head import Claim, Head, Thread
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.harness.turn.turn_span import TAKEN_OVER, TAKEOVERS, TurnSpan, begin_turn, close_turn, end_turn, turn_span
from holdfast.process import failures, spans, telemetry
from holdfast.process.span_export import ChosenIds, HashedResource, SessionIds, own_decision
from tests.support.forged_deliveries import ForgedDelivery

CALLER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(0))
EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider(id_generator=ChosenIds(), shutdown_on_exit=False)
PROVIDER.add_span_processor(SessionIds())
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    """Spans of this process go to memory."""
    EXPORTER.clear()
    spans.switch_on(PROVIDER)
    yield EXPORTER
    spans.switch_off()


def delivered(key: Key, count: int = 1) -> ForgedDelivery:
    return ForgedDelivery(key, 7, count=count)


def finished(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return list(exporter.get_finished_spans())


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context
    return span.context.trace_id, span.context.span_id


def test_a_hashed_resource_is_the_same_to_the_exporter() -> None:
    plain = Resource({"service.name": "harness", "n": 1}, "https://schema.example")
    hashed = HashedResource(plain)
    assert {plain: 1}[hashed] == 1
    assert (hashed.attributes, hashed.schema_url) == (plain.attributes, plain.schema_url)
    assert HashedResource(Resource({"service.name": "session"})) != hashed


def test_the_tracer_is_that_of_the_provider_that_records_now(recorded: InMemorySpanExporter) -> None:
    spans.tracer().start_span("kept").end()
    spans.switch_off()
    spans.tracer().start_span("dropped").end()
    assert [span.name for span in finished(recorded)] == ["kept"]


async def test_two_harnesses_make_the_same_span_of_a_turn(recorded: InMemorySpanExporter) -> None:
    key = Key("acme", new_session_id())
    first, second = Claim(id=new_id("clm"), by="a", trigger=7), Claim(id=new_id("clm"), by="b", trigger=7, failures=1)
    with turn_span(delivered(key), "a") as of_dead:
        assert isinstance(of_dead, TurnSpan)
        begin_turn(Head(), first)
        telemetry.tracer().start_span("chat x").end()
    (chat,) = finished(recorded)
    with turn_span(delivered(key, count=2), "b"):
        begin_turn(Head(claim=first), second)
        end_turn(Head())
    _, turn = finished(recorded)
    assert ids(turn) == (of_dead.get_span_context().trace_id, of_dead.get_span_context().span_id)
    assert chat.parent is not None
    assert chat.parent.span_id == ids(turn)[1]
    assert turn.attributes is not None
    assert (turn.attributes["session.id"], turn.attributes[TAKEOVERS]) == (key.session, 1)
    assert [event.name for event in turn.events] == [TAKEN_OVER]
    assert turn.start_time is not None
    assert chat.start_time is not None
    assert turn.start_time <= chat.start_time + 1_000_000, "an id has the precision of a millisecond"


async def test_a_turn_is_in_the_trace_of_its_request_and_linked_to_it(recorded: InMemorySpanExporter) -> None:
    token = context.attach(context.set_value(bus_trace.LINK, CALLER))
    with turn_span(delivered(Key("acme", new_session_id())), "a"):
        begin_turn(Head(), Claim(id=new_id("clm"), by="a", trigger=7))
        end_turn(Head())
    context.detach(token)
    (turn,) = finished(recorded)
    assert turn.parent is not None
    assert (ids(turn)[0], turn.parent.span_id, len(turn.links)) == (CALLER.trace_id, CALLER.span_id, 1)


async def test_a_long_turn_is_cut_and_its_parts_are_linked(recorded: InMemorySpanExporter) -> None:
    with turn_span(delivered(Key("acme", new_session_id())), "a") as span:
        assert span is not None
        begin_turn(Head(), Claim(id=new_id("clm"), by="a", trigger=7))
        span.cut()
        span.cut()
        end_turn(Head())
    one, two, three = finished(recorded)
    assert len({ids(part) for part in (one, two, three)}) == 3
    assert len({ids(part)[0] for part in (one, two, three)}) == 1
    assert [link.context.span_id for part in (two, three) for link in part.links] == [ids(one)[1], ids(two)[1]]
    assert [(part.attributes or {}).get(spans.CONTINUED) for part in (one, two, three)] == [True, True, None]


async def test_a_long_call_is_cut_and_its_parts_are_linked(recorded: InMemorySpanExporter) -> None:
    long = spans.LongSpan("execute_tool bash", SpanKind.INTERNAL, {"a": 1})
    long.cut()
    long.end()
    long.end()
    one, two = finished(recorded)
    assert [link.context.span_id for link in two.links] == [ids(one)[1]]
    assert spans.SEGMENT_S < 15 * 60
    await asyncio.sleep(0)


async def test_a_fault_of_ours_is_a_span_of_its_own_and_the_turn_stays_open(recorded: InMemorySpanExporter) -> None:
    with turn_span(delivered(Key("acme", new_session_id())), "a") as span:
        failures.bug("delivery")
    (failed,) = finished(recorded)
    assert span is not None
    assert failed.name == "process in.{cell}.{tenant}.{session}"
    assert (failed.status.status_code, (failed.attributes or {})["error.type"]) == (StatusCode.ERROR, "holdfast.bug")
    assert failed.parent is not None
    assert failed.parent.span_id == span.get_span_context().span_id


async def test_a_turn_that_is_given_up_is_sent_with_the_fault(recorded: InMemorySpanExporter) -> None:
    claim = Claim(id=new_id("clm"), by="dead", trigger=7, failures=2)
    with turn_span(delivered(Key("acme", new_session_id()), count=4), "b"):
        failures.bug("turn")
        close_turn(Head(claim=claim), Head(threads={"": Thread()}))
    (turn,) = finished(recorded)
    assert (turn.name, turn.status.status_code) == ("invoke_agent", StatusCode.ERROR)
    assert TAKEN_OVER in [event.name for event in turn.events]


async def test_a_message_that_was_lost_is_an_event_and_no_error(recorded: InMemorySpanExporter) -> None:
    with turn_span(delivered(Key("acme", new_session_id())), "a"):
        failures.message_lost("arrival")
        begin_turn(Head(), Claim(id=new_id("clm"), by="a", trigger=7))
        end_turn(Head())
    (turn,) = finished(recorded)
    assert (turn.status.status_code, [e.name for e in turn.events]) == (StatusCode.UNSET, ["holdfast.message_lost"])


async def test_nothing_is_made_while_nothing_is_recorded() -> None:
    with turn_span(delivered(Key("acme", new_session_id())), "a") as span:
        assert span is None
        end_turn(Head())


def test_a_caller_does_not_decide_whether_its_trace_is_sampled(recorded: InMemorySpanExporter) -> None:
    assert own_decision(CALLER, "x").trace_flags.sampled
    with trace.use_span(NonRecordingSpan(own_decision(CALLER, "x"))):
        telemetry.tracer().start_span("below").end()
    assert len(finished(recorded)) == 1
