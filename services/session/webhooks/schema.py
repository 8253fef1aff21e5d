"""The shapes of webhooks and their deliveries in the API. Pure."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from holdfast.bus.metadata import Metadata, MetadataPatch
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.http.timestamps import TimeText
from holdfast.session.webhooks.hooks import EVENT_TYPES

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Description = Annotated[str, Meta(max_length=2048)]
Events = Annotated[list[Annotated[str, Meta(max_length=128)]], Meta(min_length=1, max_length=100)]
EventId = Annotated[str, Meta(min_length=1, max_length=128)]


MAX_OVERLAP_S: Final = 7 * 24 * 3600
"""Longest time for which a secret stays valid that was replaced; the vault service has the same limit."""


class _Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class WebhookCreate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/webhooks`."""

    url: Url
    events: Events
    description: Description | None = None
    metadata: Metadata | None = None


class WebhookUpdate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/webhooks/{webhook_id}`: a field that is left out or null stays unchanged.

    Only the description is cleared by null. `skip_event_id` leaves out an event that the endpoint does not take.
    """

    url: Url | None = None
    events: Events | None = None
    description: Description | UnsetType | None = UNSET
    metadata: MetadataPatch | None = None
    enabled: bool | None = None
    skip_event_id: EventId | None = None


class SecretRotate(_Params, frozen=True, kw_only=True):
    """Body of `POST /v1/webhooks/{webhook_id}/rotate_secret`.

    `overlap_seconds`: for so long the secrets that are valid now stay valid beside the new one, a day if it is left
    out; 0 ends them at once.
    """

    overlap_seconds: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S)] = 24 * 3600


class FailingObject(msgspec.Struct, frozen=True, kw_only=True):
    """The event that the endpoint does not take; what is behind it waits."""

    event_id: str
    event_type: str
    attempts: int
    since: TimeText
    next_attempt_at: TimeText
    error: str


class DisabledObject(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is empty if it was disabled by a request."""

    at: TimeText
    error: str


class WebhookObject(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook, without its secret. `failing`: one for each cell whose events the endpoint does not take."""

    id: str
    type: Literal["webhook"]
    url: str
    events: list[str]
    description: str | None
    metadata: dict[str, str]
    status: Literal["enabled", "failing", "disabled"]
    failing: list[FailingObject]
    disabled: DisabledObject | None
    created_at: TimeText
    updated_at: TimeText


class CreatedWebhook(WebhookObject, frozen=True, kw_only=True):
    """A new webhook. This is the only answer that has its secret."""

    secret: str


class RotatedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The new secret, in this answer alone. `earlier_valid_until`: null if no earlier one is valid any more."""

    id: str
    type: Literal["webhook_secret"]
    secret: str
    earlier_valid_until: TimeText | None


class DeletedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: Literal["webhook_deleted"]


class DeliveryObject(msgspec.Struct, frozen=True, kw_only=True):
    """An event and the last attempt to deliver it."""

    type: Literal["webhook_delivery"]
    event_id: str
    event_type: str
    session_id: str | None
    status: Literal["delivered", "failing", "skipped"]
    attempts: int
    attempted_at: TimeText
    http_status: int | None
    error: str | None
    duration_ms: int


def check_events(events: list[str]) -> list[str]:
    """The types without repetition. Raises ApiError 400 for one that this version does not deliver."""
    for type_ in events:
        if type_ not in EVENT_TYPES:
            if "." in type_:
                raise not_available(f"events: {type_} is no type that is delivered; others than {_known()} are")
            raise invalid(f"events: must be of {_known()}")
    return list(dict.fromkeys(events))


def _known() -> str:
    return ", ".join(EVENT_TYPES)
