"""Heads, events and inputs from which the tests of the pure turn modules start."""

from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import NOTHING_TAKEN, AnyInput, ClientInput, PendingInput, source_for
from holdfast.bus.tools import SANDBOX
from holdfast.harness.turn import decide as step
from holdfast.harness.turn.decide import Limits, decide
from holdfast.harness.turn.ingest import Ingested, ingest

CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="t",
    agent={"name": "tester", "model": {"id": "scripted"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)
END = ev.ModelRequestEnd(id="e", model_request_start_id="r", model_usage=ev.ModelUsage(10, 5), stop="tool_use")
RUNNING = ["session.status_running", "session.thread_status_running"]


def said(text: str = "hi", event_id: str = "u1") -> ev.UserMessage:
    return ev.UserMessage(id=event_id, content=[{"type": "text", "text": text}])


def use(call: str, permission: str = "allow") -> ev.Event:
    return ev.AgentToolUse(id=call, request="r", name="bash", input={}, hand=SANDBOX, evaluated_permission=permission)  # pyright: ignore[reportArgumentType]


def client(*events: Any, name: str = "in1") -> AnyInput:
    return ClientInput(id=name, events=list(events))


def pending(*inputs: AnyInput | None, start: int = 1) -> list[PendingInput]:
    return [PendingInput(start + i, b"", value, source_for(value) if value else "in") for i, value in enumerate(inputs)]


def after(*events: ev.Event, head: Head | None = None) -> Head:
    return advance(head or advance(Head(), [CONFIG], 1), events, 1)


def ingested(head: Head, *inputs: AnyInput | None, start: int = 1) -> Ingested:
    return ingest(head, CONFIG, pending(*inputs, start=start), NOTHING_TAKEN, new_id=new_id)


def taken(head: Head, *inputs: AnyInput | None) -> tuple[list[str], Head]:
    """The types of the events that take those inputs, and the head after them."""
    events = ingested(head, *inputs).events
    return [ev.type_of(e) for e in events], advance(head, events, 1)


def decided(head: Head, **kw: Any) -> step.Step:
    return decide(head, **({"now": 10, "fresh_chars": 0, "limits": Limits(), "thread": PRIMARY_THREAD} | kw))
