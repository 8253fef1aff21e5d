"""The bytes of commits and inputs; large events and inputs are moved out of the message into a body. Pure.

JSON, with an explicit version `v`. Unknown fields are ignored. An event of an unknown type (from a newer writer)
becomes `events.Unknown`: clients never see it, heads ignore it, and readers of the log continue. An input is different:
whoever takes it has to understand all of it, so an unknown type makes it Newer as a version above VERSION does. What no
version could have written is Damaged. `tests/golden/` pins the bytes.
"""

import hashlib
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import streams
from holdfast.bus.commits import Commit
from holdfast.bus.errors import Damaged, Newer, Refused, TooLarge
from holdfast.bus.head import Head
from holdfast.bus.inputs import VERSION, AnyInput, Input, PendingInput, Source, source_for
from holdfast.bus.records import UNREADABLE, check_version

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


class _Id(msgspec.Struct):
    id: str


class _Tag(msgspec.Struct):
    type: str
    id: str = ""


class _TaggedInput(msgspec.Struct):
    """What an input of any version has; `events` only a client's."""

    type: str
    id: str
    v: int = VERSION
    events: list[_Tag] = []


class _Loose(msgspec.Struct):
    id: str
    at: int
    by: str
    head: Head
    events: list[msgspec.Raw]
    v: int = 1


_ENCODER: Final = msgspec.json.Encoder()
_COMMIT: Final = msgspec.json.Decoder(Commit)
_LOOSE: Final = msgspec.json.Decoder(_Loose)
_EVENT: Final = msgspec.json.Decoder(ev.AnyEvent)
_INPUT: Final = msgspec.json.Decoder(AnyInput | BlobInput)
_ID: Final = msgspec.json.Decoder(_Id)
_TAG: Final = msgspec.json.Decoder(_Tag)
_TAGGED_INPUT: Final = msgspec.json.Decoder(_TaggedInput)
_KNOWN: Final = frozenset(str(kind.__struct_config__.tag) for kind in ev.AnyEvent.__args__)
_KNOWN_INPUTS: Final = frozenset(str(kind.__struct_config__.tag) for kind in (*AnyInput.__args__, BlobInput))
_KNOWN_CLIENT_EVENTS: Final = frozenset(str(kind.__struct_config__.tag) for kind in ev.ClientEvent.__args__)


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
    """The commit as stored, blobs not put back. Raises Newer, Damaged."""
    try:
        commit = _COMMIT.decode(data)
    except msgspec.ValidationError:
        commit = _decode_unknown_events(data)
    except UNREADABLE as exc:
        raise Damaged("not a commit") from exc
    if commit.v > VERSION:
        raise Newer("a commit", found=commit.v, known=VERSION)
    return commit


def _decode_unknown_events(data: bytes) -> Commit:
    """A commit with events of unknown types. Raises Newer, Damaged."""
    try:
        loose = _LOOSE.decode(data)
        events = [_decode_event(bytes(raw)) for raw in loose.events]
    except UNREADABLE as exc:
        check_version(data, "a commit", VERSION)
        raise Damaged(f"not a commit: {exc}") from None
    return Commit(v=loose.v, id=loose.id, at=loose.at, by=loose.by, head=loose.head, events=events)


def _decode_event(data: bytes) -> ev.AnyEvent:
    tag = _TAG.decode(data)
    if tag.type not in _KNOWN:
        return ev.Unknown(id=tag.id, of=tag.type)
    return _EVENT.decode(data)


def commit_id(data: bytes) -> str:
    """Only the id of a stored commit, of any version; empty if it has none."""
    try:
        return _ID.decode(data).id
    except UNREADABLE:
        return ""


def blob_refs(commit: Commit) -> list[ev.Blob]:
    return [event for event in commit.events if isinstance(event, ev.Blob)]


def put_back(commit: Commit, bodies: dict[str, bytes]) -> Commit:
    """The commit with its blobs replaced by the events of `bodies` (by ref). Raises Damaged."""
    try:
        events = [_decode_event(bodies[e.ref]) if isinstance(e, ev.Blob) else e for e in commit.events]
    except UNREADABLE as exc:
        raise Damaged("a body in the object store is not an event") from exc
    return replace(commit, events=events)


def encode_input(value: AnyInput) -> tuple[bytes, Body | None]:
    """The message, and the body to store in the object store before it is sent."""
    whole = encode(value)
    if len(whole) <= streams.BLOB_THRESHOLD_BYTES:
        return whole, None
    body = _body(whole)
    return encode(BlobInput(v=value.v, id=value.id, ref=body.ref, size=len(whole))), body


def decode_input(data: bytes) -> AnyInput | BlobInput:
    """Decode a message of the inbox. Raises Newer, Damaged."""
    try:
        value = _INPUT.decode(data)
    except UNREADABLE as exc:
        check_version(data, "an input", VERSION)
        if _has_unknown_type(data):
            raise Newer("an input of an unknown type") from None
        raise Damaged("not an input") from exc
    if value.v > VERSION:
        raise Newer("an input", found=value.v, known=VERSION)
    return value


def is_newer_input(data: bytes) -> bool:
    """Whether only a newer version can decode this message of the inbox. Its body in the object store is not read."""
    try:
        check_version(data, "an input", VERSION)
    except Newer:
        return True
    return _has_unknown_type(data)


def _has_unknown_type(data: bytes) -> bool:
    """Whether these bytes are an input of a type, or with a client's event of a type, that this version lacks."""
    try:
        tagged = _TAGGED_INPUT.decode(data)
    except UNREADABLE:
        return False
    return tagged.type not in _KNOWN_INPUTS or any(e.type not in _KNOWN_CLIENT_EVENTS for e in tagged.events)


def pending_input(seq: int, source: Source, data: bytes, value: AnyInput | None) -> PendingInput:
    """A message of an inbox; its input is left out if it may not come from that source: a hand speaks for no user."""
    admitted = value if value is not None and source_for(value) == source else None
    return PendingInput(seq, data, admitted, source)


def _checked(data: bytes) -> bytes:
    if len(data) > streams.MAX_MESSAGE_BYTES - 64 * 1024:
        raise TooLarge(f"{len(data)} bytes are over the limit of the stream")
    return data
