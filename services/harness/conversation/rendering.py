"""Items into the `messages` of a Messages API request. Pure.

The result is always valid: every `tool_use` has its `tool_result` in the next user message and results come first in
it, no request ends with an assistant message, no assistant message ends with a thinking block, no text block is empty.
"""

from collections.abc import Sequence
from typing import Any, Final

from holdfast.bus.events import Block
from holdfast.harness.conversation.items import Item

NO_RESULT: Final = "No result of this call was recorded."


class Rendering:
    """Messages made so far. Items are fed in log order; a copy can be finished while the original is fed further."""

    def __init__(self) -> None:
        self.item_count = 0
        """Items fed so far."""
        self._messages: list[dict[str, Any]] = []
        self._open_calls: list[str] = []
        """Ids of the tool calls in the last assistant message."""
        self._results: dict[str, Item] = {}
        """Results since the last assistant message, by call id."""
        self._user_blocks: list[Block] = []
        """What the user said since the last assistant message."""

    def copy(self) -> "Rendering":
        new = Rendering()
        new.item_count, new._messages, new._open_calls = self.item_count, list(self._messages), list(self._open_calls)
        new._results, new._user_blocks = dict(self._results), list(self._user_blocks)
        return new

    def feed(self, items: Sequence[Item]) -> None:
        """Add the next items."""
        self.item_count += len(items)
        for item in items:
            if item.kind == "result":
                self._results[item.id] = item
            elif item.kind == "user":
                self._user_blocks.extend(_without_empty_texts(item.blocks))
            else:
                blocks = _without_empty_texts(item.blocks)
                while blocks and blocks[-1].get("type") in ("thinking", "redacted_thinking"):
                    blocks.pop()
                if blocks:
                    self._end_user_message()
                    self._add("assistant", blocks)
                    self._open_calls = [b["id"] for b in blocks if b.get("type") == "tool_use"]

    def finish(self) -> list[dict[str, Any]]:
        """The messages. Nothing may be fed after this."""
        self._end_user_message()
        out = self._messages
        if out and out[0]["role"] == "assistant":
            out.insert(0, {"role": "user", "content": [{"type": "text", "text": "(The beginning is not available.)"}]})
        if out and out[-1]["role"] == "assistant":
            out.append({"role": "user", "content": [{"type": "text", "text": "Continue."}]})
        return out

    def _end_user_message(self) -> None:
        """Add the user message between two assistant messages: the results of all calls first, in call order."""
        results: list[Block] = [_tool_result(c, self._results.get(c)) for c in self._open_calls]
        if content := results + self._user_blocks:
            self._add("user", content)
        self._open_calls, self._results, self._user_blocks = [], {}, []

    def _add(self, role: str, content: list[Block]) -> None:
        if self._messages and self._messages[-1]["role"] == role:
            content = [*self._messages.pop()["content"], *content]
        self._messages.append({"role": role, "content": content})


def _without_empty_texts(blocks: list[Block]) -> list[Block]:
    return [b for b in blocks if b.get("type") != "text" or str(b.get("text") or "").strip()]


def _tool_result(call_id: str, item: Item | None) -> Block:
    if item is None:
        return {"type": "tool_result", "tool_use_id": call_id, "content": NO_RESULT, "is_error": True}
    block: Block = {"type": "tool_result", "tool_use_id": call_id}
    if content := _without_empty_texts(item.blocks):
        block["content"] = content
    if item.is_error:
        block["is_error"] = True
        block.setdefault("content", "The call failed.")
    return block
