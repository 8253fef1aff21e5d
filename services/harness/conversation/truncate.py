"""Makes a conversation smaller when the model rejects it as a whole. Pure.

The log keeps everything. An unreadable image or a text that is larger than every context window must not block a
session for ever, so requests go on without it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from holdfast.bus.events import Block

_PLAIN: Final = ("text", "thinking", "redacted_thinking", "tool_use")

TEXT_MINIMUM_CHARS: Final = 100
"""No text is truncated to less."""


def has_attachments(blocks: Iterable[Block]) -> bool:
    """True if there is an image, a document or a search result: only the model can tell whether it accepts those."""
    return any(b.get("type") not in _PLAIN for b in blocks)


def without_attachments(blocks: Iterable[Block], reason: str) -> list[Block]:
    """The blocks with each attachment replaced by a note that gives the reason."""
    return [b if b.get("type") in _PLAIN else _note(b, reason) for b in blocks]


def _note(block: Block, reason: str) -> Block:
    return {"type": "text", "text": f"[a block of type {block.get('type')} was here; {reason}]"}


def truncate_text(text: str, limit: int) -> str:
    """The text; of one longer than `limit` characters the beginning and the end."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def truncate_blocks(blocks: Iterable[Block], limit: int) -> list[Block]:
    """The blocks with each text truncated to `limit` characters."""
    return [{**b, "text": truncate_text(str(b.get("text")), limit)} if b.get("type") == "text" else b for b in blocks]


def truncate_messages(messages: Sequence[dict[str, Any]], fraction: float) -> list[dict[str, Any]]:
    """Valid messages with about that fraction of the characters, without attachments and thinking.

    Only for a summary request: every text is truncated to the same length.
    """
    sizes = [len(str(b.get("text") or b.get("input") or "")) for m in messages for b in _leaves(m["content"])]
    limit = max(int(sum(sizes) * fraction) // max(len(sizes), 1), TEXT_MINIMUM_CHARS)
    out: list[dict[str, Any]] = []
    for message in messages:
        content = [
            _truncate_block(b, limit)
            for b in message["content"]
            if b.get("type") in ("text", "tool_use", "tool_result")
        ]
        out.append({"role": message["role"], "content": content or [{"type": "text", "text": "(left out)"}]})
    return out


def _leaves(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        inner: list[Block] | str | None = block.get("content")
        yield from _leaves(inner) if isinstance(inner, list) else (block,)


def _truncate_block(block: Block, limit: int) -> Block:
    match block.get("type"):
        case "text":
            return truncate_blocks([block], limit)[0]
        case "tool_use":
            whole = msgspec.json.encode(block["input"]).decode()
            return block if len(whole) <= limit else {**block, "input": {"shortened": truncate_text(whole, limit)}}
        case _:
            inner: list[Block] | str | None = block.get("content")
            if not isinstance(inner, list):
                return block
            return {**block, "content": truncate_blocks(without_attachments(inner, "left out of this summary"), limit)}
