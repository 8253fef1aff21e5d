"""Token counts of a request: about four characters a token, with a prompt cache that remembers prefixes. Pure."""

import hashlib
from typing import Any, Final, cast

import msgspec

Json = dict[str, Any]

CHARS_PER_TOKEN: Final = 4
"""Characters of JSON counted as one token."""

MEDIA_CHARS: Final = 6_400
"""Characters that a picture or document in base64 counts as, whatever its size."""

CACHED_PREFIXES: Final = 100_000
"""Prefixes that the cache remembers; the oldest are dropped."""

_encode = msgspec.json.encode


def tokens_of(text: str) -> int:
    """Tokens of a text, at least 1."""
    return max(1, len(text) // CHARS_PER_TOKEN)


def _surplus(blocks: Any) -> int:
    """Characters of base64 data in these content blocks above MEDIA_CHARS each; they do not count."""
    more = 0
    for block in cast("list[Json]", blocks) if isinstance(blocks, list) else ():
        source = block.get("source")
        if block.get("type") == "tool_result":
            more += _surplus(block.get("content"))
        elif isinstance(source, dict) and cast("Json", source).get("type") == "base64":
            more += max(len(cast("Json", source).get("data", "")) - MEDIA_CHARS, 0)
    return more


def char_count(request: Json, raw: bytes) -> int:
    """The characters that the request counts as; `raw` is its body."""
    if b'"base64"' not in raw:
        return len(raw)
    return len(raw) - sum(_surplus(message["content"]) for message in request["messages"])


class PromptCache:
    """Remembers the prefixes of requests that were marked with `cache_control`."""

    def __init__(self) -> None:
        self._seen: dict[bytes, None] = {}

    def clear(self) -> None:
        self._seen.clear()

    def count(self, request: Json, size: int) -> dict[str, int]:
        """The input side of `usage` for a request of `size` characters. Remembers its marked prefixes."""
        marked = self._prefixes(request)
        total = max(1, size // CHARS_PER_TOKEN)
        read = max((length for length, name in marked if name in self._seen), default=0)
        whole = max((length for length, _ in marked), default=0)
        for _, name in marked:
            self._seen.pop(name, None)
            self._seen[name] = None
        while len(self._seen) > CACHED_PREFIXES:
            del self._seen[next(iter(self._seen))]
        read, whole = min(read // CHARS_PER_TOKEN, total), min(whole // CHARS_PER_TOKEN, total)
        return {
            "input_tokens": total - whole,
            "cache_creation_input_tokens": whole - read,
            "cache_read_input_tokens": read,
        }

    def _prefixes(self, request: Json) -> list[tuple[int, bytes]]:
        """Length and hash of each prefix that ends at a mark, in the order tools, system, messages."""
        model: str = request["model"]
        hasher = hashlib.blake2b(model.encode(), digest_size=16)
        length = 0
        found: list[tuple[int, bytes]] = []

        def add(role: str, block: Any) -> None:
            nonlocal length
            mark = isinstance(block, dict) and "cache_control" in block
            plain: Any = {k: v for k, v in block.items() if k != "cache_control"} if mark else block  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            data = _encode(plain)
            hasher.update(role.encode())
            hasher.update(data)
            length += len(data) - (_surplus([plain]) if b'"base64"' in data else 0)
            if mark:
                found.append((length, hasher.digest()))

        for tool in request.get("tools") or ():
            add("tool", tool)
        system: Any = request.get("system")
        for block in system if isinstance(system, list) else [system] if system else []:  # pyright: ignore[reportUnknownVariableType]
            add("system", block)
        for message in request["messages"]:
            content: Any = message["content"]
            for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:  # pyright: ignore[reportUnknownVariableType]
                add(message["role"], block)
        if request.get("cache_control"):
            found.append((length, hasher.digest()))
        return found
