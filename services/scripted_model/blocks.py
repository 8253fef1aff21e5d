"""Content blocks as the Messages API takes them. Pure."""

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, Final, cast

Json = dict[str, Any]

_SIGNING: Final = b"holdfast scripted model"
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_TEXT: Final = frozenset(("text",))
_IN_RESULT: Final = frozenset(("text", "image", "document", "search_result"))
SYSTEM: Final = _TEXT
USER: Final = frozenset(("text", "image", "document", "search_result", "tool_result"))
ASSISTANT: Final = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))


class Refused(Exception):
    """The API would refuse the request with `status`, error type `kind` and header `retry-after` (seconds)."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request_error", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


def sign(thinking: str) -> str:
    """The signature of a thinking block: the same for the same text, from any process."""
    return hmac.new(_SIGNING, thinking.encode(), hashlib.sha256).hexdigest()


def as_object(value: Any, where: str) -> Json:
    """The value as an object. Raises Refused."""
    if not isinstance(value, dict):
        raise Refused(f"{where}: Input should be a valid dictionary")
    return cast("Json", value)


def as_list(value: Any, where: str) -> list[Any]:
    """The value as a list. Raises Refused."""
    if not isinstance(value, list):
        raise Refused(f"{where}: Input should be a valid list")
    return cast("list[Any]", value)


def check_fields(value: Json, legal: frozenset[str], where: str) -> None:
    """Raises Refused for a field that the API does not know."""
    if extra := value.keys() - legal:
        raise Refused(f"{where}{min(extra)}: Extra inputs are not permitted")


def check_block(value: Any, where: str, legal: frozenset[str]) -> Json:
    """The block. Raises Refused unless its type is in `legal` and its fields are valid."""
    block = as_object(value, where)
    kind = block.get("type")
    if kind not in legal:
        raise Refused(f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    fields, check = _KINDS[kind]
    where = f"{where}.{kind}"
    check_fields(block, fields, f"{where}.")
    if block.get("cache_control") is not None:
        check_mark(block["cache_control"], where)
    check(block, where)
    return block


def check_mark(value: Any, where: str) -> None:
    """Raises Refused unless the value is a valid `cache_control`."""
    if as_object(value, f"{where}.cache_control").get("type") != "ephemeral":
        raise Refused(f"{where}.cache_control.type: Input should be 'ephemeral'")


def _text(block: Json, where: str) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        raise Refused(f"{where}.text: Input should be a valid string")
    if not text:
        raise Refused(f"{where}: text content blocks must be non-empty")
    if not text.strip():
        raise Refused(f"{where}: text content blocks must contain non-whitespace text")


def _thought(block: Json, where: str) -> None:
    thinking, signature = block.get("thinking"), block.get("signature")
    if not isinstance(thinking, str) or not isinstance(signature, str):
        raise Refused(f"{where}: thinking and signature: Field required")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), sign(thinking).encode()):
        raise Refused(f"{where}: Invalid `signature` in `thinking` block")


def _redacted(block: Json, where: str) -> None:
    if not isinstance(block.get("data"), str) or not block["data"]:
        raise Refused(f"{where}.data: Field required")


def _call(block: Json, where: str) -> None:
    if not isinstance(block.get("id"), str) or not _CALL_ID.fullmatch(block["id"]):
        raise Refused(f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block.get("name"), str) or not block["name"]:
        raise Refused(f"{where}.name: String should have at least 1 character")
    as_object(block.get("input"), f"{where}.input")


def _result(block: Json, where: str) -> None:
    if not isinstance(block.get("tool_use_id"), str):
        raise Refused(f"{where}.tool_use_id: Field required")
    is_error, content = block.get("is_error"), block.get("content")
    if not isinstance(is_error, bool | None):
        raise Refused(f"{where}.is_error: Input should be a valid boolean")
    if is_error and not content:
        raise Refused(f"{where}: content cannot be empty if `is_error` is true")
    if content is None or isinstance(content, str):
        return
    for index, inner in enumerate(as_list(content, f"{where}.content")):
        check_block(inner, f"{where}.content.{index}", _IN_RESULT)


def _media(block: Json, where: str) -> None:
    source = as_object(block.get("source"), f"{where}.source")
    if source.get("type") not in ("base64", "url", "text", "file", "content"):
        raise Refused(f"{where}.source: Input tag does not match any of the expected tags")


def _found(block: Json, where: str) -> None:
    if not isinstance(block.get("source"), str) or not isinstance(block.get("title"), str):
        raise Refused(f"{where}: source and title: Field required")
    for index, inner in enumerate(as_list(block.get("content"), f"{where}.content")):
        check_block(inner, f"{where}.content.{index}", _TEXT)


def _fields(*names: str) -> frozenset[str]:
    return frozenset(("type", *names))


_KINDS: Final[dict[str, tuple[frozenset[str], Callable[[Json, str], None]]]] = {
    "text": (_fields("text", "cache_control", "citations"), _text),
    "thinking": (_fields("thinking", "signature"), _thought),
    "redacted_thinking": (_fields("data"), _redacted),
    "tool_use": (_fields("id", "name", "input", "cache_control", "caller", "toolset_name"), _call),
    "tool_result": (_fields("tool_use_id", "content", "is_error", "cache_control", "toolset_name"), _result),
    "image": (_fields("source", "cache_control"), _media),
    "document": (_fields("source", "title", "context", "citations", "cache_control"), _media),
    "search_result": (_fields("source", "title", "content", "citations", "cache_control"), _found),
}
