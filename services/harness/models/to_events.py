"""The response of a model as events of the log. Pure.

Nothing may enter the log that cannot be replayed, because the log cannot be repaired. NUL characters and lone
surrogates are removed, empty texts and tool calls inside a refusal dropped. A tool call whose input is truncated,
oversized or no object, or whose tool is not offered, is logged together with an error result, so that every `tool_use`
can be replayed with its `tool_result`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.ids import NewId
from holdfast.harness.models.interface import Response
from holdfast.harness.models.sanitize import has_more_values, is_deeper, sanitize
from holdfast.harness.tools.offered_tools import hand_of, permission, reads_only
from holdfast.harness.tools.tool_results import error_result

INPUT_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Largest input of a tool call, as JSON."""

INPUT_LIMIT_LEVELS: Final = 100
"""Deepest nesting of the input of a tool call; the edge allows clients as much."""

INPUT_LIMIT_VALUES: Final = 50_000
"""Most values in the input of a tool call. Lists of millions of values would stop the event loop for seconds."""

INPUT_TRUNCATED: Final = (
    "Your response reached its limit of length inside this call, so the call was not run. Send smaller calls: for "
    "example a long file in several parts."
)

DETAIL_LIMIT_CHARS: Final = 2000
"""Length to which the category and the explanation of a refusal are cut."""

TOOL_NAME_LIMIT_CHARS: Final = 128
"""Longest name of a tool that the API accepts."""

_NOT_IN_A_TOOL_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
"""The API rejects a replayed call whose name contains one of these characters."""


class ResponseEvents:
    """Makes the events of one model request.

    `request` is the id of its start event. `ids` are the event ids already announced to watchers, by block index.
    """

    def __init__(self, *, request: str, ids: Mapping[int, str], thread: str, new_id: NewId) -> None:
        self._request = request
        self._ids = ids
        self._thread = thread
        self._new_id = new_id

    def response(self, response: Response, agent: dict[str, Any]) -> list[ev.Event]:
        """The events of a complete response, the end of the request, then error results of calls that cannot run."""
        said: list[ev.Event] = []
        errors: list[ev.Event] = []
        refused = response.stop == "refusal"
        for index, block in enumerate(response.blocks):
            match block.get("type"):
                case "text":
                    said += self._text(index, str(block.get("text") or ""))
                case "thinking" | "redacted_thinking":
                    said += self._thinking(index, block)
                case "tool_use" if not refused:
                    call, problem = self._call(block, agent, truncated=response.stop in ev.TRUNCATED_STOPS)
                    said.append(call)
                    if problem:
                        errors.append(error_result(call.id, problem, thread=self._thread, new_id=self._new_id))
                case _:
                    pass
        return [*said, self.end(response.usage, response.stop), *errors]

    def interrupted(self, texts: Mapping[int, str], usage: ev.ModelUsage) -> list[ev.Event]:
        """The events of a request that was cancelled: the text that watchers have seen stays in the conversation."""
        said: list[ev.Event] = []
        for index, text in sorted(texts.items()):
            said += self._text(index, text)
        return [*said, self.end(usage, "interrupted")]

    def end(self, usage: ev.ModelUsage, stop: str) -> ev.ModelRequestEnd:
        """The end of the request."""
        return ev.ModelRequestEnd(
            id=self._new_id("sevt"),
            thread=self._thread,
            model_request_start_id=self._request,
            model_usage=usage,
            stop=stop,
        )

    def _block_id(self, index: int) -> str:
        return self._ids.get(index) or self._new_id("sevt")

    def _text(self, index: int, text: str) -> list[ev.Event]:
        text = sanitize(text)
        if not text.strip():
            return []
        content: list[ev.Block] = [{"type": "text", "text": text}]
        return [ev.AgentMessage(id=self._block_id(index), thread=self._thread, request=self._request, content=content)]

    def _thinking(self, index: int, block: ev.Block) -> list[ev.Event]:
        if not (block.get("signature") or block.get("data")):
            return []
        return [
            ev.AgentThinking(
                id=self._block_id(index), thread=self._thread, request=self._request, block=sanitize(block)
            )
        ]

    def _call(self, block: ev.Block, agent: dict[str, Any], *, truncated: bool) -> tuple[ev.Event, str]:
        """The call, and why it cannot run; empty if it can."""
        name = _NOT_IN_A_TOOL_NAME.sub("_", str(block.get("name") or "unnamed"))[:TOOL_NAME_LIMIT_CHARS]
        arguments, problem = _arguments(block.get("input"))
        if truncated and block.get("input") is None:
            problem = INPUT_TRUNCATED
        allowed = permission(agent, name)
        if allowed == "client" and not problem:
            call = ev.AgentCustomToolUse(
                id=self._new_id("sevt"), thread=self._thread, request=self._request, name=name, input=arguments
            )
            return call, ""
        if allowed == "deny":
            problem = f"There is no tool named {name!r} here, or it is disabled."
        call = ev.AgentToolUse(
            id=self._new_id("sevt"),
            thread=self._thread,
            request=self._request,
            name=name,
            input=arguments,
            hand=hand_of(name),
            reads=reads_only(name),
            evaluated_permission="deny" if problem else "ask" if allowed == "ask" else "allow",
            evaluation=None if problem else {"type": "always_ask" if allowed == "ask" else "always_allow"},
        )
        return call, problem


def refusal_details(response: Response) -> dict[str, Any]:
    """The `stop_details` of a refusal: category and explanation as texts of a bounded length, or None."""
    given = response.details or {}
    told: dict[str, Any] = {"type": "refusal"}
    for name in ("category", "explanation"):
        text = given.get(name)
        told[name] = sanitize(text[:DETAIL_LIMIT_CHARS]) if isinstance(text, str) else None
    return told


def summary_text(response: Response) -> str:
    """The summary in the response to a compaction request; empty if there is none."""
    texts = [str(b["text"]) for b in response.blocks if b.get("type") == "text"]
    return sanitize("\n".join(texts)).strip()


def _arguments(given: Any) -> tuple[dict[str, Any], str]:
    """The input of a tool call as it is logged, and why it cannot be used; empty if it can."""
    if is_deeper(given, INPUT_LIMIT_LEVELS):
        text = f"The input of this call is nested more than {INPUT_LIMIT_LEVELS} levels deep. Send it flat, or as text."
        return {}, text
    if has_more_values(given, INPUT_LIMIT_VALUES):
        return {}, f"The input of this call has more than {INPUT_LIMIT_VALUES} values. Send it as text, or split it."
    if not isinstance(given, dict):
        return {}, "The input of this call was cut off or is no JSON object. Send the call again, complete."
    arguments: dict[str, Any] = sanitize(given)
    if len(msgspec.json.encode(arguments)) > INPUT_LIMIT_BYTES:
        return {}, f"The input of this call is larger than {INPUT_LIMIT_BYTES} bytes. Split it."
    return arguments, ""
