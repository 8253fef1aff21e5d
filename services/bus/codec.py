"""The bytes of commits and inputs; large events and inputs are moved out of the message into a body. Pure.

JSON, with an explicit version `v`. Unknown fields are ignored. An event of an unknown type (from a newer writer)
becomes `events.Unknown`: clients never see it, heads ignore it, and readers of the log continue. A version above
VERSION, and data that is no commit or input, raise Refused. `tests/golden/` pins the bytes.
"""

import hashlib
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import streams
from holdfast.bus.commits import Commit
from holdfast.bus.errors import Refused, TooLarge
from holdfast.bus.head import Head
from holdfast.bus.inputs import VERSION, AnyInput, Input, PendingInput, Source, source_for

COMMIT_TARGET_BYTES: Final = streams.MAX_MESSAGE_BYTES // 2
"""Bytes of a commit above which its largest events are moved to the object store."""


class BlobInput(Input, frozen=True, kw_only=True, tag="blob"):
    """Replaces an input too large for a message; its body is in the object store under `ref`."""

    ref: str
    size: int


class Body(msgspec.Struct, frozen=True):
    """A body for the object store; `ref` is its SHA-256 in hex."""

    ref: str
    data: bytes


class _Version(msgspec.Struct):
    v: int = 1


class _Id(msgspec.Struct):
    id: str


class _Tag(msgspec.Struct):
    type: str
    id: str = ""


class _Loose(msgspec.Struct):
    id: str
    at: int
    by: str
    head: Head
    events: list[msgspec.Raw]
    v: int = 1


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of decoding, in this order: bad JSON or wrong types, text that is no UTF-8, nesting too deep."""

_ENCODER: Final = msgspec.json.Encoder()
_COMMIT: Final = msgspec.json.Decoder(Commit)
_LOOSE: Final = msgspec.json.Decoder(_Loose)
_EVENT: Final = msgspec.json.Decoder(ev.AnyEvent)
_INPUT: Final = msgspec.json.Decoder(AnyInput | BlobInput)
_VERSION: Final = msgspec.json.Decoder(_Version)
_ID: Final = msgspec.json.Decoder(_Id)
_TAG: Final = msgspec.json.Decoder(_Tag)
_KNOWN: Final = frozenset(str(kind.__struct_config__.tag) for kind in ev.AnyEvent.__args__)


def encode(value: Any) -> bytes:
    """Any struct of the contract as JSON. Raises Refused for text that is no UTF-8, such as a lone surrogate."""
    try:
        return _ENCODER.encode(value)
    except (UnicodeEncodeError, TypeError) as exc:
        raise Refused("a value cannot be written as JSON") from exc


def _body(data: bytes) -> Body:
    return Body(hashlib.sha256(data).hexdigest(), data)


def encode_commit(commit: Commit) -> tuple[bytes, list[Body]]:
    """The message, and the bodies to store in the object store before it is sent."""
    whole = encode(commit)
    if len(whole) <= streams.BLOB_THRESHOLD_BYTES:
        return whole, []
    events = list(commit.events)
    sizes = {index: encode(event) for index, event in enumerate(events)}
    total, bodies = len(whole), list[Body]()
    for index in sorted(sizes, key=lambda i: -len(sizes[i])):
        data, event = sizes[index], events[index]
        if len(data) <= streams.BLOB_THRESHOLD_BYTES and total <= COMMIT_TARGET_BYTES:
            break
        body = _body(data)
        stub = ev.Blob(id=event.id, thread=event.thread, of=ev.type_of(event), ref=body.ref, size=len(data))
        events[index] = stub
        bodies.append(body)
        total -= len(data) - len(encode(stub))
    return _checked(encode(replace(commit, events=events))), bodies


def decode_commit(data: bytes) -> Commit:
    """The commit as stored, blobs not put back. Raises Refused."""
    try:
        commit = _COMMIT.decode(data)
    except msgspec.ValidationError:
        commit = _decode_newer(data)
    except _UNREADABLE as exc:
        raise Refused("not a commit") from exc
    if commit.v > VERSION:
        raise Refused(f"a commit of version {commit.v}; this process knows {VERSION}")
    return commit


def _decode_newer(data: bytes) -> Commit:
    """A commit with events of unknown types. Raises Refused."""
    try:
        loose = _LOOSE.decode(data)
        events = [_decode_event(bytes(raw)) for raw in loose.events]
    except _UNREADABLE as exc:
        raise Refused(_newer(data) or f"not a commit: {exc}") from None
    return Commit(v=loose.v, id=loose.id, at=loose.at, by=loose.by, head=loose.head, events=events)


def _decode_event(data: bytes) -> ev.AnyEvent:
    tag = _TAG.decode(data)
    if tag.type not in _KNOWN:
        return ev.Unknown(id=tag.id, of=tag.type)
    return _EVENT.decode(data)


def _newer(data: bytes) -> str:
    try:
        v = _VERSION.decode(data).v
    except _UNREADABLE:
        return ""
    return f"a message of version {v}; this process knows {VERSION}" if v > VERSION else ""


def commit_id(data: bytes) -> str:
    """Only the id of a stored commit, of any version; empty if it has none."""
    try:
        return _ID.decode(data).id
    except _UNREADABLE:
        return ""


def blob_refs(commit: Commit) -> list[ev.Blob]:
    return [event for event in commit.events if isinstance(event, ev.Blob)]


def put_back(commit: Commit, bodies: dict[str, bytes]) -> Commit:
    """The commit with its blobs replaced by the events of `bodies` (by ref)."""
    events = [_decode_event(bodies[e.ref]) if isinstance(e, ev.Blob) else e for e in commit.events]
    return replace(commit, events=events)


def encode_input(value: AnyInput) -> tuple[bytes, Body | None]:
    """The message, and the body to store in the object store before it is sent."""
    whole = encode(value)
    if len(whole) <= streams.BLOB_THRESHOLD_BYTES:
        return whole, None
    body = _body(whole)
    return encode(BlobInput(id=value.id, ref=body.ref, size=len(whole))), body


def decode_input(data: bytes) -> AnyInput | BlobInput:
    """Decode a message of the inbox. Raises Refused if it is no input or of a newer version."""
    try:
        value = _INPUT.decode(data)
    except _UNREADABLE as exc:
        raise Refused("not an input") from exc
    if value.v > VERSION:
        raise Refused(f"an input of version {value.v}; this process knows {VERSION}")
    return value


def pending_input(seq: int, source: Source, data: bytes, value: AnyInput | None) -> PendingInput:
    """A message of an inbox; its input is left out if it may not come from that source: a hand speaks for no user."""
    admitted = value if value is not None and source_for(value) == source else None
    return PendingInput(seq, data, admitted, source)


def _checked(data: bytes) -> bytes:
    if len(data) > streams.MAX_MESSAGE_BYTES - 64 * 1024:
        raise TooLarge(f"{len(data)} bytes are over the limit of the stream")
    return data
