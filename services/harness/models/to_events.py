"""An answer of the model into events: nothing poisonous enters the log, for it cannot be repaired. Pure but for ids.

NUL characters and lone surrogates are taken out, empty texts dropped, tool calls inside a refusal dropped. A tool call
whose input is no object or was cut off, whose tool is not offered, or whose input is oversized is logged with an error
result in the same commit, so that every `tool_use` can be replayed with its `tool_result`.
"""

import re
from typing import Any

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.harness.models import Response
from holdfast.harness.models.sanitize import deeper, sanitize
from holdfast.harness.tools.catalog import permission
from holdfast.harness.turn.ingest import failed

MAX_INPUT = 4 * 1024 * 1024
"""Largest input of a tool call, in bytes of JSON."""

MAX_DEPTH = 100
"""Levels of nesting of the input of a tool call; the edge takes as many from clients."""

MAX_NAME = 128

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
"""The API refuses a replayed call whose name has anything else."""


def to_events(answer: Response, *, agent: dict[str, Any], request: str, ids: dict[int, str]) -> list[ev.Event]:
    """The events of a whole answer in order, then the errors of calls that cannot run.

    `request` is the id of its span start; `ids` are the event ids already announced for text blocks, by index.
    """
    said: list[ev.Event] = []
    errors: list[ev.Event] = []
    refused = answer.stop == "refusal"
    for index, block in enumerate(answer.blocks):
        match block.get("type"):
            case "text":
                event = _text(block, request, ids.get(index))
                if event:
                    said.append(event)
            case "thinking" | "redacted_thinking":
                if block.get("signature") or block.get("data"):
                    said.append(
                        ev.AgentThinking(id=ids.get(index) or new_id("sevt"), request=request, block=sanitize(block))
                    )
            case "tool_use" if not refused:
                call, why = _call(block, agent, request)
                said.append(call)
                if why:
                    errors.append(failed(call.id, why))
            case _:
                pass
    return [*said, _end(answer, request), *errors]


def _end(answer: Response, request: str) -> ev.Event:
    return ev.ModelRequestEnd(
        id=new_id("sevt"), model_request_start_id=request, model_usage=answer.usage, stop=answer.stop
    )


def _text(block: ev.Block, request: str, event_id: str | None) -> ev.AgentMessage | None:
    text = sanitize(block.get("text") or "")
    if not text.strip():
        return None
    return ev.AgentMessage(id=event_id or new_id("sevt"), request=request, content=[{"type": "text", "text": text}])


def _call(block: ev.Block, agent: dict[str, Any], request: str) -> tuple[ev.Event, str]:
    """The call, and why it cannot run (empty: it can)."""
    name = _NOT_IN_A_NAME.sub("_", str(block.get("name") or "unnamed"))[:MAX_NAME]
    given: Any = block.get("input")
    why = ""
    too_deep = deeper(given, MAX_DEPTH)
    arguments: dict[str, Any] = sanitize(given) if isinstance(given, dict) and not too_deep else {}
    if too_deep:
        why = f"The input of this call is nested more than {MAX_DEPTH} levels deep. Send it flat, or as text."
    elif not isinstance(given, dict):
        why = "The input of this call was cut off or is no JSON object. Send the call again, complete."
    elif len(msgspec.json.encode(arguments)) > MAX_INPUT:
        arguments, why = {}, f"The input of this call is larger than {MAX_INPUT} bytes. Split it."
    event_id = new_id("sevt")
    allowed = permission(agent, name)
    if allowed == "client" and not why:
        return ev.AgentCustomToolUse(id=event_id, request=request, name=name, input=arguments), ""
    if allowed == "deny":
        why = f"There is no tool named {name!r} here, or it is disabled."
    if why:
        call = ev.AgentToolUse(id=event_id, request=request, name=name, input=arguments, evaluated_permission="deny")
        return call, why
    call = ev.AgentToolUse(
        id=event_id,
        request=request,
        name=name,
        input=arguments,
        evaluated_permission="ask" if allowed == "ask" else "allow",
        evaluation={"type": "always_ask" if allowed == "ask" else "always_allow"},
    )
    return call, ""
