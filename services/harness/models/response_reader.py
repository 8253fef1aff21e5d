"""The streamed response of the Messages API: decoded events in, pieces out. Pure.

Unknown event, block and delta types are skipped, because the API adds new ones. A known field with a value of the wrong
type raises ValueError: the response cannot be used.

The size of a response is bounded. One that is larger is cut, as if the model had reached its limit of tokens: what came
counts, and a tool call that is not complete does not run.
"""

from typing import Any, Final, cast

import msgspec

from holdfast.bus.events import TRUNCATED_STOPS, Block, ModelUsage
from holdfast.harness.models.interface import BlockStart, Piece, Response, TextDelta, UsageUpdate
from holdfast.harness.models.json_objects import Json, decode_object, whole_characters
from holdfast.harness.models.sanitize import is_deeper
from holdfast.harness.models.scrub import VALUE_LIMIT_LEVELS, Scrubber, TextFilter

RESPONSE_LIMIT_CHARS: Final = 8 * 1024 * 1024
"""Largest sum of the texts, thoughts and tool inputs of a response: about ten times the most tokens of any model."""

BLOCK_LIMIT: Final = 256
"""Most content blocks of a response, and so the most tool calls."""

DELTA_COST_CHARS: Final = 8
"""Counted for each delta beside its text, so that empty ones are bounded too."""

STOP_LIMIT_CHARS: Final = 64
"""Length to which a stop reason is cut; the longest of the API has 29."""

_TEXTS: Final = ("text", "thinking", "signature", "data")
"""Fields of a content block that are texts."""


class StreamError(Exception):
    """The endpoint sent an error event in the middle of its response. `kind` is the error's type."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ResponseReader:
    """Folds the events of one response. `scrubber` takes the key of the endpoint out of what it tells."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._blocks: dict[int, Block] = {}
        self._parts: dict[tuple[int, str], list[str]] = {}
        """Deltas by (block index, field), joined once at the end; field `json` is the input of a tool call."""
        self._open: dict[int, TextFilter] = {}
        """Blocks that have started and not stopped, by index, with the filter of their text."""
        self._usage: dict[str, int] = {}
        self._stop = ""
        self._details: Json | None = None
        self.size = 0
        """Characters counted towards RESPONSE_LIMIT_CHARS."""
        self.ended = False
        """True once `message_stop` was read."""
        self.is_cut = False
        """True once the response was larger than its bounds. What follows of it is not to be read."""

    @property
    def stopped(self) -> bool:
        """True if the response is complete: the stop reason was read, and what may follow adds nothing."""
        return bool(self._stop) or self.ended

    @property
    def began(self) -> bool:
        return bool(self._blocks)

    def cut(self) -> None:
        """End the response here: it exceeds a bound."""
        self.is_cut = True
        self._stop = self._stop or TRUNCATED_STOPS[0]

    def read(self, event: Json) -> list[Piece]:
        """Fold one event and return the pieces that it adds. Raises ValueError, and StreamError for an error event."""
        if self.is_cut:
            return []
        match event.get("type"):
            case "message_start":
                self._count_tokens(_object(_object(event, "message"), "usage"))
                return [UsageUpdate(msgspec.convert(self._usage, ModelUsage))]
            case "content_block_start":
                return self._start_block(_index(event), _object(event, "content_block"))
            case "content_block_delta":
                return self._delta(_index(event), _object(event, "delta"))
            case "content_block_stop":
                return self._stop_block(_index(event))
            case "message_delta":
                self._end(_object(event, "delta"))
                self._count_tokens(_object(event, "usage"))
            case "message_stop":
                self.ended = True
            case "error":
                error = _object(event, "error")
                raise StreamError(str(error.get("type", "")), str(error.get("message", "an error")))
            case _:
                pass
        return []

    def _start_block(self, index: int, block: Block) -> list[Piece]:
        if index in self._blocks:
            raise ValueError(f"block {index} began twice")
        if is_deeper(block, VALUE_LIMIT_LEVELS):
            raise ValueError(f"block {index} is nested too deeply")
        size = sum(len(_text(block, name)) for name in _TEXTS)
        size += len(str(block["input"])) if block.get("input") else 0
        if len(self._blocks) == BLOCK_LIMIT or not self._has_room(size):
            self.cut()
            return []
        self._blocks[index] = block
        self._open[index] = self._scrubber.filter()
        out: list[Piece] = [BlockStart(index, str(block.get("type")))]
        if block.get("type") == "text":
            block["text"] = _text(block, "text")
            out += _told(index, self._open[index].feed(block["text"]))
        return out

    def _stop_block(self, index: int) -> list[Piece]:
        filtered = self._open.pop(index, None)
        return _told(index, filtered.end()) if filtered else []

    def _delta(self, index: int, delta: Json) -> list[Piece]:
        if index not in self._blocks:
            return []
        match delta.get("type"):
            case "text_delta":
                text = _text(delta, "text")
                if self._append(index, "text", text) and (filtered := self._open.get(index)):
                    return _told(index, filtered.feed(text))
            case "input_json_delta":
                self._append(index, "json", _text(delta, "partial_json"))
            case "thinking_delta":
                self._append(index, "thinking", _text(delta, "thinking"))
            case "signature_delta":
                self._append(index, "signature", _text(delta, "signature"))
            case _:
                pass
        return []

    def _append(self, index: int, name: str, text: str) -> bool:
        """False if there is no room for the text: the response is cut."""
        if not self._has_room(len(text)):
            self.cut()
            return False
        self._parts.setdefault((index, name), []).append(text)
        return True

    def _has_room(self, chars: int) -> bool:
        self.size += chars + DELTA_COST_CHARS
        return self.size <= RESPONSE_LIMIT_CHARS

    def _end(self, delta: Json) -> None:
        self._stop = self._scrubber.word(_text(delta, "stop_reason"), STOP_LIMIT_CHARS) or self._stop
        self._details = _object(delta, "stop_details") or self._details

    def _count_tokens(self, usage: Json) -> None:
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ):
            value = usage.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
                self._usage[name] = value

    def response(self) -> Response:
        """The complete response. Raises ValueError if the stream ended before the stop reason was read."""
        if not self.stopped:
            raise ValueError("the stream ended before the response did")
        for index, block in self._blocks.items():
            for name in ("text", "thinking", "signature"):
                if parts := self._parts.get((index, name)):
                    block[name] = _text(block, name) + "".join(parts)
            if block.get("type") == "tool_use":
                block["input"] = self._input(index, block)
        blocks = [self._blocks[i] for i in sorted(self._blocks)]
        usage = msgspec.convert(self._usage, ModelUsage)
        return self._scrubber.response(Response(blocks, self._stop or "end_turn", usage, self._details))

    def _input(self, index: int, block: Block) -> Json | None:
        """The input of a tool call; None if it is not complete, or no JSON object.

        An input that begins and ends with a brace is complete. One of which nothing came is complete too, for a tool
        without arguments; but not if the response was truncated in this block.
        """
        if index in self._open:
            return None
        text = "".join(self._parts.get((index, "json"), ()))
        if not text.strip():
            given: Any = block.get("input")
            truncated = self._stop in TRUNCATED_STOPS and index == max(self._blocks) and not given
            return given if isinstance(given, dict) and not truncated else None  # pyright: ignore[reportUnknownVariableType]
        try:
            return decode_object(whole_characters(text).encode())
        except ValueError:
            return None


def _told(index: int, text: str) -> list[Piece]:
    return [TextDelta(index, text)] if text else []


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
