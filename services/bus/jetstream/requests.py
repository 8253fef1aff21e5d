"""The requests of JetStream over one connection: storing, reading from any replica, reading from the leader."""

import base64
from typing import Any

import msgspec

from holdfast.bus.errors import InboxFull, NoResponders, StorageFull, TooLarge, Unavailable
from holdfast.bus.jetstream.connection import REQUEST_TIMEOUT_S, Connection, RawMessage
from holdfast.bus.jetstream.erase_budget import EraseBudget

WRONG_LAST_SEQUENCE_CODES = (10071, 10164)
"""Error codes for a wrong expected sequence; the second while another message of the subject is in flight (R > 1)."""

_MESSAGE_TOO_LARGE_CODE = 10054

ERASE_TIMEOUT_S = 10.0
"""Seconds to wait until a message is erased: a slow disk needs some for a file of 8 MiB."""

_SEQUENCE_NOT_FOUND_CODE = 10043

_NO_MESSAGE = ("no message found", "stream store EOF")
"""Descriptions, with a code that other failures have too, of the removal of a message that is not there."""

_STORAGE_FULL_CODES = (10023, 10028, 10047, 10077)
"""Error codes for the limits of the server, its memory, its storage and the stream (discard new)."""

_SUBJECT_FULL = "maximum messages per subject exceeded"
"""The text of the limit of one subject, which has no error code of its own. Only inboxes have that limit."""


class WrongLastSequence(Exception):
    """The subject is not at the expected sequence."""


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_ACK = msgspec.json.Decoder(_Ack)


class JetStreamClient(Connection):
    """A connection with the requests of JetStream."""

    def __init__(self) -> None:
        super().__init__()
        self.erase_budget = EraseBudget()

    async def api(
        self, name: str, body: dict[str, Any] | None = None, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> dict[str, Any]:
        """A request of the JetStream API as JSON; `error` is left in the answer. Raises Unavailable, NoResponders."""
        data = msgspec.json.encode(body) if body is not None else b""
        got = await self.ask(f"$JS.API.{name}", data, timeout_s=timeout_s)
        return msgspec.json.decode(got.data, type=dict[str, Any])

    # --- streams ---------------------------------------------------------------------------------------------------

    async def store(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Publish to a stream; return the sequence. Raises WrongLastSequence, TooLarge, InboxFull, StorageFull,
        Unavailable.
        """
        try:
            got = await self.ask(subject, data, headers=headers)
        except NoResponders:
            raise Unavailable("the stream has no leader") from None
        try:
            ack = _ACK.decode(got.data)
        except msgspec.DecodeError:
            raise Unavailable(f"the response on {subject} is not of a stream") from None
        if ack.error is None:
            return ack.seq
        if ack.error.err_code in WRONG_LAST_SEQUENCE_CODES:
            raise WrongLastSequence
        if ack.error.err_code == _MESSAGE_TOO_LARGE_CODE:
            raise TooLarge(ack.error.description)
        if ack.error.description == _SUBJECT_FULL:
            raise InboxFull("too many inputs of the session wait to be taken")
        if ack.error.err_code in _STORAGE_FULL_CODES:
            raise StorageFull(f"the stream refused: {ack.error.description}")
        raise Unavailable(f"the stream refused: {ack.error.description} ({ack.error.err_code})")

    async def direct(self, stream: str, subject: str) -> RawMessage | None:
        """The last message of a subject, from any replica. Raises Unavailable."""
        try:
            got = await self.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}")
        except NoResponders:
            raise Unavailable("the stream does not answer") from None
        return None if got.status == "404" else _whole(got)

    async def direct_seq(self, stream: str, seq: int) -> RawMessage | None:
        """The message with that sequence, from any replica. Raises Unavailable."""
        try:
            got = await self.ask(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode({"seq": seq}))
        except NoResponders:
            raise Unavailable("the stream does not answer") from None
        return None if got.status == "404" else _whole(got)

    async def leader(self, stream: str, query: dict[str, Any]) -> RawMessage | None:
        """A message as the leader of the stream has it: `{last_by_subj}`, `{seq}` or `{seq, next_by_subj}`."""
        try:
            answer = await self.api(f"STREAM.MSG.GET.{stream}", query)
        except NoResponders:
            raise Unavailable("the stream does not answer") from None
        if "error" in answer:
            if answer["error"].get("code") == 404:
                return None
            raise Unavailable(f"the stream refused: {answer['error'].get('description')}")
        found = answer["message"]
        headers = _parse_headers(base64.b64decode(found.get("hdrs", "")))
        headers["Nats-Sequence"] = str(found["seq"])
        return RawMessage(found["subject"], "", base64.b64decode(found.get("data", "")), headers)

    async def erase(self, stream: str, seq: int) -> bool:
        """Remove the message and overwrite its bytes on the disk. False if it is not there. Raises Unavailable.

        The server rewrites the file of up to 8 MiB that holds the message, and stores nothing else meanwhile.
        """
        try:
            answer = await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq}, timeout_s=ERASE_TIMEOUT_S)
        except NoResponders:
            raise Unavailable("the stream does not answer") from None
        error = answer.get("error")
        if error is None:
            return True
        if error.get("err_code") == _SEQUENCE_NOT_FOUND_CODE or error.get("description") in _NO_MESSAGE:
            return False
        raise Unavailable(f"the stream did not erase: {error.get('description')}")

    async def batch(
        self, stream: str, subject: str, *, seq: int, limit: int, max_bytes: int = 0
    ) -> tuple[list[RawMessage], int]:
        """Up to `limit` messages matching `subject` from `seq` on, in order; how many remain. Any replica answers.

        The answer ends with the message that exceeds `max_bytes` (0: the limit of the server).
        """
        query = msgspec.json.encode({"seq": seq, "next_by_subj": subject, "batch": limit, "max_bytes": max_bytes})
        found: list[RawMessage] = []
        try:
            async for got in self.stream(f"$JS.API.DIRECT.GET.{stream}", query):
                match got.status:
                    case "":
                        found.append(_whole(got))
                    case "204":
                        return found, int(got.headers.get("Nats-Num-Pending", "0"))
                    case "404":
                        return found, 0
                    case other:
                        raise Unavailable(f"the stream refused to read: {other} {got.headers.get('Description', '')}")
        except NoResponders:
            raise Unavailable("the stream does not answer") from None
        raise Unavailable("the answer ended early")


def _whole(got: RawMessage) -> RawMessage:
    """The message of a direct get, under the subject with which it was stored. Raises Unavailable for an error."""
    if got.status:
        raise Unavailable(f"the stream refused to read: {got.status} {got.headers.get('Description', '')}")
    return RawMessage(got.headers["Nats-Subject"], "", got.data, got.headers)


def _parse_headers(raw: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in raw.decode("utf-8", "replace").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    return headers
