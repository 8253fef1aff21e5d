"""The name of a request's span: that of the method of the SDK, as the hosted service names it. Pure.

`POST /v1/sessions/{session_id}/events` is `anthropic.sessions.events.send`.
"""

from typing import Final

_OWN_NAMES: Final = {
    ("POST", "events"): "send",
    ("GET", "stream"): "",
    ("POST", "archive"): "",
    ("POST", "revoke"): "",
    ("POST", "mcp_oauth_validate"): "",
    ("POST", "resend"): "",
    ("POST", "test"): "",
}
"""The last word of a path that is itself the method (empty), or has a method of another name."""

_OF_PATHS: Final = {
    ("POST", "/v1/tasks/{task}"): "anthropic.tasks.send",
    ("POST", "/v1/files"): "anthropic.files.upload",
    ("GET", "/v1/files/{file_id}"): "anthropic.files.retrieve_metadata",
    ("GET", "/v1/files/{file_id}/content"): "anthropic.files.download",
}
"""Where the method does not tell: a task that is sent is not updated."""

_ITEM: Final = {"GET": "retrieve", "POST": "update", "DELETE": "delete"}
_COLLECTION: Final = {"GET": "list", "POST": "create"}


def span_name(method: str, path: str) -> str:
    """`path` has its parameters in braces. Paths outside `/v1/` are named as they are."""
    if not path.startswith("/v1/"):
        return f"{method} {path}"
    if name := _OF_PATHS.get((method, path)):
        return name
    parts = path.removeprefix("/v1/").split("/")
    words = [part for part in parts if not part.startswith("{")]
    own = _OWN_NAMES.get((method, words[-1]))
    if own is not None and not parts[-1].startswith("{"):
        return ".".join(["anthropic", *words, *([own] if own else [])])
    names = _ITEM if parts[-1].startswith("{") else _COLLECTION
    return ".".join(["anthropic", *words, names.get(method, method.lower())])
