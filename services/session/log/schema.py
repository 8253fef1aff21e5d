"""The objects of sessions and events that clients see, as types: for the OpenAPI document and for the answers. Pure.

The fields of events are generated from `bus.events`: every field whose JSON name does not begin with `_`.
"""

from typing import Any, Final, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.bus import events as ev
from holdfast.bus.head import Status
from holdfast.session.http.timestamps import TimeText

# --- sessions ------------------------------------------------------------------------------------------------------


class CacheCreation(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens written to the prompt cache of the model, by the lifetime of the entry."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class SessionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all model requests of a session, and its seconds in the status `running`."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation: CacheCreation | None
    active_seconds: float


class SessionStats(msgspec.Struct, frozen=True, kw_only=True):
    """`duration_seconds`: from the creation of the session to its end, or to now."""

    active_seconds: float
    duration_seconds: float


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session."""

    id: str
    type: Literal["session"] = "session"
    status: Status
    agent: dict[str, Any]
    environment_id: str
    deployment_id: None = None
    title: str | None
    metadata: dict[str, str]
    vault_ids: list[str]
    resources: list[dict[str, Any]]
    usage: SessionUsage
    stats: SessionStats
    budget: None = None
    outcome_evaluations: list[dict[str, Any]] = []
    created_at: TimeText
    updated_at: TimeText
    archived_at: TimeText | None


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a list of sessions, with the cursors to the pages behind and before it."""

    data: list[Session]
    next_page: str | None
    prev_page: str | None


class SessionDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a session was deleted."""

    id: str
    type: Literal["session_deleted"] = "session_deleted"


# --- events --------------------------------------------------------------------------------------------------------

VISIBLE_KINDS: Final = tuple(
    kind for kind in ev.AnyEvent.__args__ if not str(kind.__struct_config__.tag).startswith("holdfast.")
)
"""Classes of the events that clients may see."""

VISIBLE_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in VISIBLE_KINDS)
"""Types of the events that clients may see."""

SPARSE_TYPES: Final = frozenset({"session.updated"})
"""Types in which an absent field means "not changed": such fields are left out, not sent as null."""


def visible_fields(kind: type[ev.Event]) -> tuple[tuple[str, str], ...]:
    """Attribute and JSON name of each field that clients see, except the id."""
    return tuple(
        (field.name, field.encode_name)
        for field in msgspec.structs.fields(kind)
        if not field.encode_name.startswith("_") and field.name != "id"
    )


def _event_type(kind: type[ev.Event]) -> type[msgspec.Struct]:
    """The struct of an event of that class as clients see it: all fields are there, null where they are not set."""
    tag = str(kind.__struct_config__.tag)
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    fields: list[Any] = [("id", str)]
    for name, json_name in visible_fields(kind):
        if tag in SPARSE_TYPES:
            fields.append((json_name, types[name] | UnsetType, UNSET))
        else:
            fields.append((json_name, types[name]))
    return msgspec.defstruct(
        f"{kind.__name__}Event",
        [*fields, ("processed_at", TimeText | None)],
        module=__name__,
        namespace={"__doc__": f"`{tag}`"},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        tag_field="type",
        tag=tag,
    )


EVENT_TYPES: Final[dict[str, type[msgspec.Struct]]] = {
    str(kind.__struct_config__.tag): _event_type(kind) for kind in VISIBLE_KINDS
}
"""The struct that clients see, by type of the event."""

AnyVisibleEvent: Any = Union[tuple(EVENT_TYPES.values())]  # noqa: UP007  made of a list

EventPage: Any = msgspec.defstruct(
    "EventPage",
    [("data", list[AnyVisibleEvent]), ("next_page", str | None)],
    module=__name__,
    namespace={"__doc__": "Part of the list of a session's events, with the cursor to the page behind it."},
    frozen=True,
    kw_only=True,
)

SentEvents: Any = msgspec.defstruct(
    "SentEvents",
    [("data", list[AnyVisibleEvent])],
    module=__name__,
    namespace={"__doc__": "The events of a request as they were stored, with their ids."},
    frozen=True,
    kw_only=True,
)
