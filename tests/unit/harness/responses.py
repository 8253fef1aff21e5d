"""Responses of a model turned into events, for an agent with all tools."""

from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.bus.ids import new_id
from holdfast.harness.models.interface import Response
from holdfast.harness.models.to_events import ResponseEvents

AGENT: dict[str, Any] = {
    "name": "tester",
    "model": {"id": "scripted"},
    "tools": [
        {"type": "agent_toolset_20260401", "default_config": {"enabled": True}, "configs": []},
        {"type": "custom", "name": "ask_client", "description": "d", "input_schema": {"type": "object"}},
    ],
}


def response_events(response: Response, *, request: str = "r") -> list[ev.Event]:
    made = ResponseEvents(request=request, ids={}, thread=PRIMARY_THREAD, new_id=new_id)
    return made.response(response, AGENT)
