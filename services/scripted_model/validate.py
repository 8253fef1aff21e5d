"""Refuses what the Messages API refuses, with its status and in its words. Pure.

So a test fails if Holdfast stores a conversation that no real model would continue.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from holdfast.scripted_model.blocks import (
    ASSISTANT,
    SYSTEM,
    USER,
    Refused,
    as_list,
    as_object,
    check_block,
    check_fields,
    check_mark,
)

Json = dict[str, Any]

MAX_CACHE_MARKS: Final = 4
"""Cache breakpoints a request may have."""

_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MESSAGE_FIELDS: Final = frozenset(("role", "content"))
_TOOL_FIELDS: Final = frozenset((
    "type", "name", "description", "input_schema", "cache_control", "strict", "eager_input_streaming",
    "input_examples", "defer_loading", "allowed_callers",
))  # fmt: skip
_FIELDS: Final = frozenset((
    "max_tokens", "messages", "model", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice", "tools",
    "user_profile_id", "temperature", "top_k", "top_p",
))  # fmt: skip


def check(body: Any) -> None:
    """Raises Refused unless the API would take this body of POST /v1/messages."""
    request = as_object(body, "body")
    for name in ("model", "max_tokens", "messages"):
        if request.get(name) is None:
            raise Refused(f"{name}: Field required")
    check_fields(request, _FIELDS, "")
    if not isinstance(request["model"], str) or not request["model"]:
        raise Refused("model: Input should be a valid string")
    _whole(request["max_tokens"], "max_tokens", least=1)
    _no_nul(request, "body")
    _system(request.get("system"))
    _tools(request.get("tools"), request.get("tool_choice"))
    _thinking(request)
    messages = as_list(request["messages"], "messages")
    if not messages:
        raise Refused("messages: at least one message is required")
    for index, message in enumerate(messages):
        _message(message, f"messages.{index}")
    _exchanges(messages)
    if (count := _marks(request)) > MAX_CACHE_MARKS:
        raise Refused(f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {count}.")


def _whole(value: Any, where: str, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{where}: Input should be a valid integer")
    if value < least:
        raise Refused(f"{where}: Input should be greater than or equal to {least}")


def _no_nul(value: Any, where: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise Refused(f"{where}: the text contains a NUL character")
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[Any]", value)):
            _no_nul(inner, f"{where}.{index}")
    elif isinstance(value, dict):
        for key, inner in cast("Json", value).items():
            _no_nul(key, where)
            _no_nul(inner, f"{where}.{key}")


def _system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    for index, block in enumerate(as_list(system, "system")):
        check_block(block, f"system.{index}", SYSTEM)


def _tools(value: Any, choice: Any) -> None:
    tools = as_list(value, "tools") if value is not None else []
    if not tools and choice is not None:
        raise Refused("tool_choice: tool_choice may only be specified while providing tools")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name = _tool(as_object(tool, f"tools.{index}"), f"tools.{index}.custom")
        if name in names:
            raise Refused("tools: Tool names must be unique.")
        names.add(name)
    if choice is None:
        return
    chosen = as_object(choice, "tool_choice")
    if chosen.get("type") not in ("auto", "any", "tool", "none"):
        raise Refused("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if chosen["type"] == "tool" and chosen.get("name") not in names:
        raise Refused(f"Tool '{chosen.get('name')}' not found in provided tools")


def _tool(tool: Json, where: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise Refused(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if tool.get("type") not in (None, "custom"):
        return name
    check_fields(tool, _TOOL_FIELDS, f"{where}.")
    if tool.get("cache_control") is not None:
        check_mark(tool["cache_control"], where)
    schema = as_object(tool.get("input_schema"), f"{where}.input_schema")
    if schema.get("type") != "object":
        raise Refused(f"{where}.input_schema.type: Input should be 'object'")
    if any(k in schema for k in ("oneOf", "anyOf", "allOf")):
        raise Refused(f"{where}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level")
    if schema.get("properties") is not None:
        as_object(schema["properties"], f"{where}.input_schema.properties")
    if not isinstance(tool.get("description", ""), str):
        raise Refused(f"{where}.description: Input should be a valid string")
    return name


def _thinking(request: Json) -> None:
    if request.get("thinking") is None:
        return
    thinking = as_object(request["thinking"], "thinking")
    kind = thinking.get("type")
    if kind not in ("enabled", "adaptive", "disabled"):
        raise Refused("thinking.type: Input should be 'enabled', 'adaptive' or 'disabled'")
    if kind == "enabled":
        _whole(thinking.get("budget_tokens"), "thinking.enabled.budget_tokens", least=1024)
        if thinking["budget_tokens"] >= request["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind != "disabled" and request.get("temperature", 1) != 1:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled.")


def _message(value: Any, where: str) -> None:
    message = as_object(value, where)
    check_fields(message, _MESSAGE_FIELDS, f"{where}.")
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise Refused(f"{where}.role: Input should be 'user' or 'assistant'")
    if isinstance(message.get("content"), str):
        if not message["content"].strip():
            raise Refused(f"{where}: text content blocks must contain non-whitespace text")
        return
    content = as_list(message.get("content"), f"{where}.content")
    if not content:
        raise Refused(f"{where}: all messages must have non-empty content")
    for index, block in enumerate(content):
        check_block(block, f"{where}.content.{index}", USER if role == "user" else ASSISTANT)
    if content[-1]["type"] in ("thinking", "redacted_thinking"):
        raise Refused(f"{where}: The final block in an assistant message cannot be `thinking`.")


def _exchanges(messages: Sequence[Json]) -> None:
    """Raises Refused unless the user speaks first and last, and the message after a call begins with its one result."""
    if messages[0]["role"] != "user":
        raise Refused("messages: first message must use the user role")
    if messages[-1]["role"] != "user":
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    seen: set[str] = set()
    calls: list[str] = []
    for index, message in enumerate(merged(messages)):
        where = f"messages.{index}"
        content: list[Json] = message["content"]
        if message["role"] == "user":
            _answers(content, calls, where)
            calls = []
            continue
        calls = [b["id"] for b in content if b["type"] == "tool_use"]
        if len(set(calls)) < len(calls) or seen.intersection(calls):
            raise Refused(f"{where}: `tool_use` ids must be unique")
        seen.update(calls)


def _answers(content: Sequence[Json], calls: Sequence[str], where: str) -> None:
    answered: list[str] = []
    for index, block in enumerate(content):
        if block["type"] != "tool_result":
            continue
        call = block["tool_use_id"]
        if index > len(answered):
            raise Refused(f"{where}: `tool_result` blocks must come first in the content of a message")
        if call not in calls:
            raise Refused(
                f"{where}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {call}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if call in answered:
            raise Refused(f"{where}: each tool_use must have a single result. Found multiple with id: {call}")
        answered.append(call)
    if missing := [c for c in calls if c not in answered]:
        raise Refused(
            f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )


def merged(messages: Sequence[Json]) -> list[Json]:
    """The messages as the API sees them: neighbours of the same role joined, texts as blocks."""
    out: list[Json] = []
    for message in messages:
        content: Any = message["content"]
        blocks: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if out and out[-1]["role"] == message["role"]:
            out[-1] = {"role": message["role"], "content": [*out[-1]["content"], *blocks]}
        else:
            out.append({"role": message["role"], "content": blocks})
    return out


def _marks(request: Json) -> int:
    lists: list[Any] = [request.get("tools"), request.get("system"), *(m["content"] for m in request["messages"])]
    blocks = [b for value in lists if isinstance(value, list) for b in cast("list[Json]", value)]
    return sum(1 for b in blocks if b.get("cache_control")) + (1 if request.get("cache_control") else 0)
