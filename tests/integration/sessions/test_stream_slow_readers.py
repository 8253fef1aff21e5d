"""Event streams whose client does not read: no event is missed, deltas and outputs are dropped first.

No harness runs here: the test writes the log and publishes the deltas that one would.
"""

import asyncio

import msgspec

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.commands import Output
from holdfast.bus.ids import new_id
from tests.support.edge import SessionService
from tests.support.event_stream import frames, raw, take, tell
from tests.support.session_log import SessionLog, delta_piece, delta_start


async def test_a_reader_that_falls_far_behind_misses_no_event(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    async with raw(edge, session, "?event_deltas[]=agent.message") as answer:
        said: list[str] = []
        await log.write(ev.ModelRequestStart(id=new_id("sevt")))
        for n in range(300):
            ids = [new_id("sevt") for _ in range(20)]
            await tell(log, *(delta_start(i) for i in ids), *(delta_piece(i, "x" * 500) for i in ids))
            await log.write(
                *(ev.AgentMessage(id=i, content=[{"type": "text", "text": str(n) + "y" * 5000}]) for i in ids)
            )
            said += ids
        found = frames(answer)
        shown: list[str] = []
        pieces = 0
        async with asyncio.timeout(30):
            async for frame in found:
                if frame.event == "event_delta":
                    pieces += 1
                    assert frame.data["event_id"] not in shown, "no delta behind its event"
                elif frame.event == "agent.message":
                    shown.append(frame.data["id"])
                if len(shown) == len(said):
                    break
        assert shown == said
        assert 0 < pieces < len(said), "deltas are dropped first"
        request, fresh = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(fresh, request=request), delta_piece(fresh, "x"))  # named, as a harness does
        shown_now = [f.event for f in await take(found, 3)]
        assert shown_now == ["span.model_request_start", "event_start", "event_delta"]


async def test_the_output_of_tools_is_shown_and_dropped_first(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    """A reader that does not read while calls print 40 MB misses output, but no event, and what it sees is a prefix."""
    async with raw(edge, session, "?event_deltas[]=agent.tool_result") as answer:
        calls: list[str] = []
        for _ in range(100):
            call = ev.AgentToolUse(id=new_id("sevt"), name="bash", input={"command": "x" * 5000})
            await log.write(call)
            for n in range(20):
                printed = Output(call.id, f"{n:02}" * 10_000, at=n * 20_000)
                await log.bus.core.publish(subjects.output(log.key), msgspec.json.encode(printed))
            await log.write(ev.AgentToolResult(id=new_id("sevt"), tool_use_id=call.id))
            calls.append(call.id)
        shown = dict.fromkeys(calls, "")
        order: list[str] = []
        async with asyncio.timeout(60):
            async for frame in frames(answer):
                if frame.event == "event_delta":
                    assert f"result of {frame.data['event_id']}" not in order
                    shown[frame.data["event_id"]] += frame.data["delta"]["content"]["text"]
                elif frame.event == "agent.tool_use":
                    order.append(f"use of {frame.data['id']}")
                elif frame.event == "agent.tool_result":
                    order.append(f"result of {frame.data['tool_use_id']}")
                if len(order) == 200:
                    break
    assert order == [f"{what} of {call}" for call in calls for what in ("use", "result")]
    whole = "".join(f"{n:02}" * 10_000 for n in range(20))
    assert all(whole.startswith(text) for text in shown.values())
    assert 0 < sum(map(len, shown.values())) < 100 * len(whole)
