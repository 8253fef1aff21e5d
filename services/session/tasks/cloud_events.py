"""CloudEvents 1.0.2: binary and structured mode. Every error names the attribute. Pure.

Sources: the specification and its JSON format; the HTTP binding 1.0.2 for headers, which NATS messages have too. The
NATS binding 1.0.2 knows the structured mode only.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import unquote

import msgspec

from holdfast.bus.times import parse_time
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.payload import decode
from holdfast.session.tasks.rejection import malformed

REQUIRED: Final = ("id", "source", "specversion", "type")
"""Attributes that every CloudEvent has, as texts that are not empty."""

SPECVERSION: Final = "1.0"

HEADER_PREFIX: Final = "ce-"
"""Before the name of an attribute in a header, in lower case."""

_TEXTS: Final = (*REQUIRED, "datacontenttype", "dataschema", "subject", "time")
"""The attributes of the specification: texts, not empty. Extensions may be booleans and integers too."""
_NAME: Final = re.compile(r"[a-z0-9]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that no attribute may contain."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_MEDIA_TYPE: Final = re.compile(r"[\w.+!#$&^-]+/[\w.+!#$&^*-]+\s*(;.*)?", re.ASCII)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER: Final = 1 << 31
"""Integers of attributes have 32 bits."""


def is_cloud_event(value: object) -> bool:
    """Whether a JSON value without a content type is meant as a structured CloudEvent: it has all that one needs."""
    return isinstance(value, dict) and all(name in cast("dict[str, Any]", value) for name in REQUIRED)


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether headers, their names in lower case, are meant as a CloudEvent: one required attribute is among them."""
    return any(HEADER_PREFIX + name in headers for name in REQUIRED)


def structured(value: object) -> TaskEvent:
    """The event in the JSON format. Raises Rejected."""
    if not isinstance(value, dict):
        raise malformed("the CloudEvent must be a JSON object")
    fields = cast("dict[str, Any]", value)
    attributes = {
        name: _as_text(name, given)
        for name, given in fields.items()
        if name not in ("data", "data_base64") and given is not None
    }
    _check(attributes)
    encoded = fields.get("data_base64")
    if encoded is None:
        return _event(attributes, fields.get("data"))
    if fields.get("data") is not None:
        raise malformed("data_base64: `data` is given too; a CloudEvent has one of them")
    return _event(attributes, decode(attributes.get("datacontenttype", ""), _bytes(encoded), "data_base64"))


def binary(headers: Mapping[str, str], body: bytes) -> TaskEvent:
    """The event in headers, their names in lower case, with its data as the body. Raises Rejected."""
    attributes = {
        name.removeprefix(HEADER_PREFIX): _unescaped(name, value)
        for name, value in headers.items()
        if name.startswith(HEADER_PREFIX)
    }
    for name in ("datacontenttype", "data", "data_base64"):
        if name in attributes:
            raise malformed(f"{name}: must not be a header; the content type and the body say it")
    content_type = headers.get("content-type", "")
    if content_type:
        attributes["datacontenttype"] = content_type
    _check(attributes)
    return _event(attributes, decode(content_type, body, "data") if body else None)


def _event(attributes: dict[str, str], data: Any) -> TaskEvent:
    """Two events of equal source and id are the same one (section 3.1.1 of the specification)."""
    name = msgspec.json.encode(["cloudevent", attributes["source"], attributes["id"]]).decode()
    return TaskEvent(data=data, attributes=attributes, name=name)


# --- attributes ----------------------------------------------------------------------------------------------------


def _check(attributes: Mapping[str, str]) -> None:
    for name in REQUIRED:
        if name not in attributes:
            raise malformed(f"{name}: a CloudEvent must have this attribute")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise malformed(f"{_shown(name)}: the name of an attribute has lower-case letters and digits only")
        if not value and name in _TEXTS:
            raise malformed(f"{name}: must not be empty")
        if _CONTROL.search(value):
            raise malformed(f"{name}: must not contain control characters or half surrogates")
    if attributes["specversion"] != SPECVERSION:
        raise malformed(f"specversion: only {SPECVERSION} is known")
    if "time" in attributes and not _is_time(attributes["time"]):
        raise malformed("time: must be an RFC 3339 time such as 2026-11-27T09:30:00Z")
    if "datacontenttype" in attributes and not _MEDIA_TYPE.fullmatch(attributes["datacontenttype"]):
        raise malformed("datacontenttype: must be a media type")


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        parse_time(re.sub(r"(\.\d{9})\d+", r"\1", text))
    except ValueError:
        return False
    return True


def _as_text(name: str, value: object) -> str:
    """The canonical text of an attribute in JSON."""
    match value:
        case str():
            return value
        case _ if name in _TEXTS:
            raise malformed(f"{name}: must be a text")
        case bool():
            return "true" if value else "false"
        case int() if -_INTEGER <= value < _INTEGER:
            return str(value)
        case _:
            raise malformed(f"{_shown(name)}: must be a text, a boolean or an integer of 32 bits")


def _unescaped(header: str, value: str) -> str:
    """A header as an attribute: quotes are taken off, then one round of percent-decoding (3.1.3.2, HTTP binding)."""
    name = header.removeprefix(HEADER_PREFIX)
    if quoted := _QUOTED.fullmatch(value.strip()):
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    if _BAD_ESCAPE.search(value):
        raise malformed(f"{_shown(name)}: `%` must be followed by two hexadecimal digits; itself it is `%25`")
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise malformed(f"{_shown(name)}: its percent-encoding is not UTF-8") from None


def _bytes(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise malformed("data_base64: must be a text")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise malformed("data_base64: is not base64") from None


def _shown(name: str) -> str:
    """The name of an attribute for an error: it comes from outside."""
    return ascii(name[:40])[1:-1]
