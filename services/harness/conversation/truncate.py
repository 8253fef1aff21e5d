"""What is taken out of a conversation so that the model can go on when it refuses the whole. Pure.

The log keeps everything; a picture that no model can read or a text that fits no context must not brick the session.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from holdfast.bus.events import Block

_PLAIN: Final = ("text", "thinking", "redacted_thinking", "tool_use")

_SHORTEST: Final = 100
"""Characters that are left of a text in any case."""


def attached(blocks: Iterable[Block]) -> bool:
    """Whether there is anything that only the model itself can judge: a picture, a document, a search result."""
    return any(b.get("type") not in _PLAIN for b in blocks)


def detached(blocks: Iterable[Block], why: str) -> list[Block]:
    """The blocks with each attachment replaced by a note."""
    return [b if b.get("type") in _PLAIN else _note(b, why) for b in blocks]


def _note(block: Block, why: str) -> Block:
    return {"type": "text", "text": f"[a block of type {block.get('type')} was here; {why}]"}


def cut(text: str, limit: int) -> str:
    """The beginning and the end of a text that is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def cut_blocks(blocks: Iterable[Block], limit: int) -> list[Block]:
    """The blocks with each text cut to `limit` characters."""
    return [{**b, "text": cut(str(b.get("text")), limit)} if b.get("type") == "text" else b for b in blocks]


def shortened(messages: Sequence[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """The conversation in about that share of its characters, as valid as before: no attachments, no thinking.

    For a summary only: each text is left the same room, however many there are.
    """
    sizes = [len(str(b.get("text") or b.get("input") or "")) for m in messages for b in _leaves(m["content"])]
    room = max(int(sum(sizes) * share) // max(len(sizes), 1), _SHORTEST)
    out: list[dict[str, Any]] = []
    for message in messages:
        content = [
            _shortened(b, room) for b in message["content"] if b.get("type") in ("text", "tool_use", "tool_result")
        ]
        out.append({"role": message["role"], "content": content or [{"type": "text", "text": "(left out)"}]})
    return out


def _leaves(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        inner: list[Block] | str | None = block.get("content")
        yield from _leaves(inner) if isinstance(inner, list) else (block,)


def _shortened(block: Block, room: int) -> Block:
    match block.get("type"):
        case "text":
            return cut_blocks([block], room)[0]
        case "tool_use":
            whole = msgspec.json.encode(block["input"]).decode()
            return block if len(whole) <= room else {**block, "input": {"shortened": cut(whole, room)}}
        case _:
            inner: list[Block] | str | None = block.get("content")
            if not isinstance(inner, list):
                return block
            return {**block, "content": cut_blocks(detached(inner, "left out of this summary"), room)}
