"""A response of the model as the Messages API sends it: a message, or the events of a stream. Pure."""

import re
from typing import Any, Final

import msgspec

from holdfast.scripted_model.blocks import sign
from holdfast.scripted_model.scenario import Fault, Step
from holdfast.scripted_model.usage import tokens_of

Json = dict[str, Any]

_TOKEN: Final = re.compile(r"\s*\S{1,8}\s*|\s+")
"""A token of text: a word of up to 8 characters with the blanks around it, or a part of a longer word."""

_JSON_DELTA_CHARS: Final = 12
"""Characters of tool input in one `input_json_delta`."""

_NO_DETAIL: Final = {"type": "refusal", "category": None, "explanation": None}

_encode = msgspec.json.encode


class Frame(msgspec.Struct, frozen=True):
    """One encoded event of a stream. `is_token`: a delta of content, which counts as one token."""

    data: bytes
    is_token: bool = False


def frame(name: str, body: Json, *, is_token: bool = False) -> Frame:
    """The event `name` with `body` as its data, JSON on one line."""
    return Frame(b"event: " + name.encode() + b"\ndata: " + _encode(body) + b"\n\n", is_token)


_STOP: Final = frame("message_stop", {"type": "message_stop"})
_PING: Final = frame("ping", {"type": "ping"})


class Response:
    """One response, whole or as frames. `fault` damages the part that it names."""

    def __init__(self, step: Step, *, seed: str, model: str, usage: dict[str, int], fault: Fault | None) -> None:
        self._fault = fault.kind if fault else ""
        self._blocks = [_complete(b, f"{seed}{i:02}") for i, b in enumerate(step.content or step.blocks())]
        if self._fault == "empty_text":
            self._blocks.insert(0, {"type": "text", "text": ""})
        if self._fault == "list_input" and self._last_call() is not None:
            self._blocks[-1] = {**self._blocks[-1], "input": ["not", "an", "object"]}
        cut = self._fault == "cut_input"
        calls = any(b["type"] == "tool_use" for b in self._blocks)
        self._stop = "max_tokens" if cut else step.stop or ("tool_use" if calls else "end_turn")
        self._details = step.stop_details or (_NO_DETAIL if self._stop == "refusal" else None)
        out = sum(tokens_of(_text(b)) for b in self._blocks) or 1
        self.usage: dict[str, int] = {**usage, "output_tokens": out, **step.usage}
        self._message: Json = {
            "id": f"msg_{seed}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
        }

    def _last_call(self) -> Json | None:
        return self._blocks[-1] if self._blocks and self._blocks[-1]["type"] == "tool_use" else None

    def _usage(self, **more: int) -> Json:
        made = self.usage.get("cache_creation_input_tokens", 0)
        split = {"ephemeral_5m_input_tokens": made, "ephemeral_1h_input_tokens": 0}
        return {**self.usage, "cache_creation": split, "service_tier": "standard", **more}

    def message(self) -> bytes:
        """The body of a response that is not streamed."""
        done = {"content": self._blocks, "stop_reason": self._stop, "stop_details": self._details}
        return _encode({**self._message, **done, "usage": self._usage()})

    def frames(self) -> list[Frame]:
        """The events of the stream in order."""
        begun = {**self._message, "usage": self._usage(output_tokens=1)}
        out = [frame("message_start", {"type": "message_start", "message": begun})]
        for index, block in enumerate(self._blocks):
            out.append(frame("content_block_start", _event("start", index, content_block=_opening(block))))
            if not index:
                out.append(_PING)
                out.extend(self._oddities())
            is_last = index == len(self._blocks) - 1
            out.extend(
                frame("content_block_delta", _event("delta", index, delta=delta), is_token=True)
                for delta in self._deltas(block, is_last=is_last)
            )
            out.append(frame("content_block_stop", _event("stop", index)))
        stop = {"stop_reason": self._stop, "stop_sequence": None, "stop_details": self._details}
        out.append(frame("message_delta", {"type": "message_delta", "delta": stop, "usage": self.usage}))
        out.append(_STOP)
        return out

    def _oddities(self) -> list[Frame]:
        if self._fault == "unknown_event":
            delta = {"type": "weather_delta", "weather": "fine"}
            strange = _event("delta", 0, delta=delta)
            return [frame("weather", {"type": "weather", "of": "tomorrow"}), frame("content_block_delta", strange)]
        if self._fault == "not_json":
            return [Frame(b'event: content_block_delta\ndata: {"type": "content_block_del\n\n')]
        return []

    def _deltas(self, block: Json, *, is_last: bool) -> list[Json]:
        match block["type"]:
            case "text":
                return [{"type": "text_delta", "text": t} for t in _TOKEN.findall(block["text"])]
            case "thinking":
                thoughts = [{"type": "thinking_delta", "thinking": t} for t in _TOKEN.findall(block["thinking"])]
                return [*thoughts, {"type": "signature_delta", "signature": block["signature"]}]
            case "tool_use":
                text = _encode(block["input"]).decode()
                if is_last and self._fault == "cut_input":
                    text = text[: max(1, len(text) // 2)]
                if is_last and self._fault == "bad_input":
                    text = text[:-1] + ", this is no JSON"
                parts = [text[i : i + _JSON_DELTA_CHARS] for i in range(0, len(text), _JSON_DELTA_CHARS)]
                return [{"type": "input_json_delta", "partial_json": p} for p in ["", *parts]]
            case _:
                return []


def _event(what: str, index: int, **more: Any) -> Json:
    return {"type": f"content_block_{what}", "index": index, **more}


def _complete(block: Json, seed: str) -> Json:
    """A block of a scenario with the parts that the model adds: the id of a call, the signature of a thought."""
    match block["type"]:
        case "tool_use":
            return {"type": "tool_use", "id": f"toolu_{seed}", "name": block["name"], "input": block.get("input", {})}
        case "thinking":
            return {"signature": sign(block["thinking"]), **block}
        case _:
            return block


def _opening(block: Json) -> Json:
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use":
            return {**block, "input": {}}
        case _:
            return block


def _text(block: Json) -> str:
    match block["type"]:
        case "text":
            return block["text"]
        case "thinking":
            return block["thinking"]
        case "tool_use":
            return _encode(block["input"]).decode()
        case _:
            return ""
