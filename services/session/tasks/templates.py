"""Templates of bindings: text with paths into a task event, such as `Review {{pull_request.html_url}}`. Pure.

    {{a.b.0.c}}   keys of objects, indices of lists: letters, digits, `_` and `-`
    {{@type}}     an attribute of the event
    {{.}}         all data

There is nothing else, so nothing that a publisher sends can run here. What is filled in is not read as a template.
"""

import re
from typing import Any, Final, Literal, cast

import msgspec

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.rejection import unrenderable

MAX_TEMPLATE_CHARS: Final = 100_000
"""Characters of a template: those of a system prompt."""

MAX_PATHS: Final = 100
"""Paths of one template."""

MAX_MESSAGE_CHARS: Final = 256 * 1024
"""Characters of a rendered message. A model reads a quarter of that as tokens."""

MAX_SESSION_KEY_CHARS: Final = 512

_OPEN: Final = "{{"
_CLOSE: Final = "}}"
_PATH: Final = re.compile(r"\.|@[a-z0-9-]{1,64}|[A-Za-z0-9_-]{1,128}(\.[A-Za-z0-9_-]{1,128}){0,31}")


class Path(msgspec.Struct, frozen=True):
    """Where a value is: in the attribute, or in the data behind the steps (none: all of it)."""

    source: str
    """As it is written between the braces."""
    attribute: str = ""
    steps: tuple[str, ...] = ()


class Template(msgspec.Struct, frozen=True):
    """`texts[0] paths[0] texts[1] … texts[-1]`: one text more than paths."""

    texts: tuple[str, ...]
    paths: tuple[Path, ...]


class Missing:
    """The type of MISSING."""


MISSING: Final = Missing()
"""The event has no such value. Null is one."""


def compile_path(source: str) -> Path:
    """The path. Raises ValueError if it is none."""
    if not _PATH.fullmatch(source):
        raise ValueError(
            f"{{{{{source[:60]}}}}} is no path: write names and indices with dots between them, such as"
            " {{repository.name}}, or {{@type}} for an attribute, or {{.}} for all data"
        )
    if source == ".":
        return Path(source)
    if source.startswith("@"):
        return Path(source, attribute=source[1:])
    return Path(source, steps=tuple(source.split(".")))


def compile_template(text: str) -> Template:
    """The template. Raises ValueError, which names the path or the place, for a text that is none."""
    texts: list[str] = []
    paths: list[Path] = []
    at = 0
    while (start := text.find(_OPEN, at)) >= 0:
        end = text.find(_CLOSE, start + 2)
        if end < 0:
            raise ValueError(f"the braces at character {start} are never closed")
        texts.append(text[at:start])
        paths.append(compile_path(text[start + 2 : end].strip()))
        at = end + 2
    if len(paths) > MAX_PATHS:
        raise ValueError(f"{len(paths)} paths; at most {MAX_PATHS} are allowed")
    return Template((*texts, text[at:]), tuple(paths))


def find(path: Path, event: TaskEvent) -> Any:
    """The value at that path of the event, or MISSING."""
    if path.attribute:
        return event.attributes.get(path.attribute, MISSING)
    value = event.data
    for step in path.steps:
        value = _child(value, step)
    return value


def _child(value: object, step: str) -> Any:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(step, MISSING)
    if isinstance(value, list) and step.isdecimal():
        items = cast("list[Any]", value)
        return items[int(step)] if int(step) < len(items) else MISSING
    return MISSING


def render_message(template: Template, event: TaskEvent) -> str:
    """The message of a task. Raises Rejected for a missing value, for nothing but white space, and if it is too long.

    Texts are filled in as they are, null as nothing, all other values as JSON.
    """
    message = _render(template, event, "message", MAX_MESSAGE_CHARS)
    if not message.strip():
        raise unrenderable("message: it would be empty, as the fields of the task that it shows are empty")
    return message


def render_session_key(template: Template, event: TaskEvent) -> str:
    """The key of the session that a task belongs to. Raises Rejected as `render_message`.

    Each path must lead to a text that is not empty, a number or a boolean: tasks whose key says nothing would all share
    one session.
    """
    return _render(template, event, "session_key", MAX_SESSION_KEY_CHARS)


def render_title(template: Template, event: TaskEvent, *, max_chars: int) -> str:
    """The title of a new session, in one line and cut to `max_chars`. Raises Rejected for a missing value."""
    return " ".join(_render(template, event, "title", MAX_MESSAGE_CHARS).split())[:max_chars]


def _render(template: Template, event: TaskEvent, use: Literal["message", "session_key", "title"], limit: int) -> str:
    parts = [template.texts[0]]
    size = len(parts[0])
    for path, text in zip(template.paths, template.texts[1:], strict=True):
        value = find(path, event)
        if value is MISSING:
            raise unrenderable(f"{use}: the task has no {{{{{path.source}}}}}")
        if use == "session_key" and not _identifies(value):
            raise unrenderable(
                f"{use}: {{{{{path.source}}}}} must be a text, a number or a boolean of the task, and not be empty"
            )
        parts += [_text(value), text]
        size += len(parts[-2]) + len(text)
        if size > limit:
            raise unrenderable(f"{use}: with {{{{{path.source}}}}} it would be longer than {limit} characters")
    if size > limit:
        raise unrenderable(f"{use}: it would be longer than {limit} characters")
    return "".join(parts)


def _identifies(value: object) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, bool | int | float)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
