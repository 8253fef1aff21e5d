"""The streamed response of the Messages API: decoded events in, pieces out. Pure.

Unknown event, block and delta types are skipped, because the API adds new ones. A known field with a value of the wrong
type raises ValueError: the response cannot be used.
"""

from typing import Any, cast

import msgspec

from holdfast.bus.events import Block, ModelUsage
from holdfast.harness.models.interface import BlockStart, Piece, Response, TextDelta, UsageUpdate
from holdfast.harness.models.sse import Json

_input_decoder = msgspec.json.Decoder(Json)


class StreamError(Exception):
    """The endpoint sent an error event in the middle of its response. `kind` is the error's type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ResponseReader:
    """Folds the events of one response."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._parts: dict[tuple[int, str], list[str]] = {}
        """Deltas by (block index, field), joined once at the end; field `json` is the input of a tool call."""
        self._open: set[int] = set()
        """Indexes of blocks that have started and not stopped."""
        self._usage: dict[str, int] = {}
        self._stop = ""
        self._details: Json | None = None
        self.ended = False
        """True once `message_stop` was read."""

    def read(self, event: Json) -> list[Piece]:
        """Fold one event and return the pieces that it adds. Raises ValueError, and StreamError for an error event."""
        match event.get("type"):
            case "message_start":
                self._count_tokens(_object(_object(event, "message"), "usage"))
                return [UsageUpdate(msgspec.convert(self._usage, ModelUsage))]
            case "content_block_start":
                return self._start_block(_index(event), _object(event, "content_block"))
            case "content_block_delta":
                return self._delta(_index(event), _object(event, "delta"))
            case "content_block_stop":
                self._open.discard(_index(event))
            case "message_delta":
                self._end(_object(event, "delta"))
                self._count_tokens(_object(event, "usage"))
            case "message_stop":
                self.ended = True
            case "error":
                error = _object(event, "error")
                raise StreamError(str(error.get("type", "")), str(error.get("message", "an error"))[:500])
            case _:
                pass
        return []

    def _start_block(self, index: int, block: Block) -> list[Piece]:
        self._blocks[index] = block
        self._open.add(index)
        out: list[Piece] = [BlockStart(index, str(block.get("type")))]
        if block.get("type") == "text":
            block["text"] = _text(block, "text")
            if block["text"]:
                out.append(TextDelta(index, block["text"]))
        return out

    def _delta(self, index: int, delta: Json) -> list[Piece]:
        block = self._blocks.get(index)
        if block is None:
            return []
        match delta.get("type"):
            case "text_delta":
                text = _text(delta, "text")
                self._append(index, "text", text)
                return [TextDelta(index, text)]
            case "input_json_delta":
                self._append(index, "json", _text(delta, "partial_json"))
            case "thinking_delta":
                self._append(index, "thinking", _text(delta, "thinking"))
            case "signature_delta":
                self._append(index, "signature", _text(delta, "signature"))
            case _:
                pass
        return []

    def _append(self, index: int, name: str, text: str) -> None:
        self._parts.setdefault((index, name), []).append(text)

    def _end(self, delta: Json) -> None:
        self._stop = _text(delta, "stop_reason") or self._stop
        self._details = _object(delta, "stop_details") or self._details

    def _count_tokens(self, usage: Json) -> None:
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ):
            value = usage.get(name)
            if isinstance(value, int) and 0 <= value < 1 << 53:
                self._usage[name] = value

    def response(self) -> Response:
        """The complete response. Raises ValueError if the stream ended before `message_stop`."""
        if not self.ended:
            raise ValueError("the stream ended before the response did")
        for index, block in self._blocks.items():
            for name in ("text", "thinking", "signature"):
                if parts := self._parts.get((index, name)):
                    block[name] = _text(block, name) + "".join(parts)
            if block.get("type") == "tool_use":
                block["input"] = self._input(index, block)
        blocks = [self._blocks[i] for i in sorted(self._blocks)]
        usage = msgspec.convert(self._usage, ModelUsage)
        return Response(blocks, self._stop or "end_turn", usage, self._details)

    def _input(self, index: int, block: Block) -> Json | None:
        """The input of a tool call; None if the block was not finished or the input is no JSON object."""
        if index in self._open:
            return None
        text = "".join(self._parts.get((index, "json"), ()))
        if not text.strip():
            given: Any = block.get("input")
            return given if isinstance(given, dict) else None  # pyright: ignore[reportUnknownVariableType]
        try:
            return _input_decoder.decode(text.encode())
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return None


def _text(value: Json, name: str) -> str:
    text = value.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError(f"{name} is no string")  # noqa: TRY004  the response is wrong, not the caller
    return text


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004  the response is wrong, not the caller
    return cast("Json", found)


def _index(event: Json) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise ValueError("index is no number")  # noqa: TRY004  the response is wrong, not the caller
    return index
