"""Readers of public events: which tenant and which types of events a system outside may read. Pure.

A reader is a NATS user with one durable consumer in each cell. The provisioner makes the consumer, with the filter; the
user may fetch from it and acknowledge. So a reader reads no event that its filter leaves out. It must be trusted not to
name a subject of a stream as the place for an answer (SECURITY.md).
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.ids import FIRST_CELL, is_token
from holdfast.bus.streams import SECOND_NS

ACK_WAIT_S: Final = 30
"""Seconds after which an event that the reader has fetched and not acknowledged is delivered again."""

MAX_UNACKNOWLEDGED: Final = 1_000
"""Events that a reader may hold unacknowledged; it gets the next when it acknowledges some."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,23}")
_TYPE: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*(\.>)?|>")


class Reader(msgspec.Struct, frozen=True):
    """`tenant`: `*` for all. `types`: types of events, families such as `agent.>`, or `>` for all."""

    name: str
    tenant: str
    types: tuple[str, ...]

    @property
    def user(self) -> str:
        """Its NATS user; its consumers have the same name."""
        return f"reader_{self.name}"

    def consumer(self, cell: str = FIRST_CELL) -> dict[str, Any]:
        """Its durable consumer in the cell, as `CONSUMER.CREATE` takes it. It begins at the oldest event."""
        return {
            "durable_name": self.user,
            "name": self.user,
            "filter_subjects": [subjects.public_of(cell, self.tenant, type_) for type_ in self.types],
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT_S * SECOND_NS,
            "max_deliver": -1,
            "max_ack_pending": MAX_UNACKNOWLEDGED,
            "deliver_policy": "all",
            "replay_policy": "instant",
        }


def parse_readers(text: str) -> list[Reader]:
    """Readers as `NAME:TENANT:TYPE+TYPE`, with commas between them. Raises ValueError that says what is wrong."""
    readers = [_reader(part) for part in text.split(",") if part]
    names = [reader.name for reader in readers]
    if len(set(names)) < len(names):
        raise ValueError(f"two readers have one name: {text[:200]!r}")
    return readers


def _reader(text: str) -> Reader:
    name, _, rest = text.partition(":")
    tenant, _, types = rest.partition(":")
    reader = Reader(name, tenant, tuple(types.split("+")))
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name of a reader is a lower-case letter and at most 23 more or digits, not {name[:80]!r}"
        )
    if tenant != "*" and not is_token(tenant):
        raise ValueError(f"reader {name}: {tenant[:80]!r} is neither a tenant nor `*`")
    for type_ in reader.types:
        if not _TYPE.fullmatch(type_):
            raise ValueError(f"reader {name}: {type_[:80]!r} is neither a type of events, a family such as `agent.>`, "
                             "nor `>`")  # fmt: skip
    for one in reader.types:
        for other in reader.types:
            if one != other and _covers(one, other):
                raise ValueError(f"reader {name}: {one} covers {other}; name only the first")
    if len(set(reader.types)) < len(reader.types):
        raise ValueError(f"reader {name}: a type is named twice")
    return reader


def _covers(family: str, type_: str) -> bool:
    """Whether each event that matches `type_` matches `family`, which is another one."""
    return family == ">" or (family.endswith(".>") and type_.startswith(family[:-1]))


def users(readers: Sequence[Reader]) -> list[str]:
    """The NATS users of the readers."""
    return [reader.user for reader in readers]
