"""The JSON body of a request of the Messages API. Pure."""

from typing import Any

from holdfast.harness.conversation.cache_marks import CACHE_MARK, with_cache_marks
from holdfast.harness.models.interface import Request


def request_body(request: Request) -> dict[str, Any]:
    """The body. Cache breakpoints: last system text, last tool, last two user messages (four are allowed)."""
    body: dict[str, Any] = {
        "model": request.model["id"],
        "max_tokens": request.max_tokens,
        "messages": with_cache_marks(request.messages),
        "stream": True,
    }
    if request.system:
        texts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in request.system]
        body["system"] = [*texts[:-1], {**texts[-1], **CACHE_MARK}]
    if request.tools:
        body["tools"] = [*request.tools[:-1], {**request.tools[-1], **CACHE_MARK}]
        if not request.may_call_tools:
            body["tool_choice"] = {"type": "none"}
    effort_object: dict[str, Any] = request.model.get("effort") or {}
    effort = effort_object.get("type")
    if effort and effort != "high":
        body["output_config"] = {"effort": effort}
    if geo := request.model.get("inference_geo"):
        body["inference_geo"] = geo
    return body
