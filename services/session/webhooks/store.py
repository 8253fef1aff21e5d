"""Webhooks in the bucket `webhooks`: each under `<tenant>.<id>`, and its progress in each cell under `….<cell>`.

The secret is not here: the vault service keeps it (`secrets.py`).
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus.api import KeyValue
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.session.http import timestamps
from holdfast.session.http.errors import invalid
from holdfast.session.storage.kv_store import KvStore
from holdfast.session.storage.metadata import patched
from holdfast.session.webhooks.progress import Progress
from holdfast.session.webhooks.schema import (
    DisabledObject,
    FailingObject,
    WebhookCreate,
    WebhookObject,
    WebhookUpdate,
    check_events,
)
from holdfast.session.webhooks.target import check_url

BUCKET: Final = "webhooks"

MAX_WEBHOOKS: Final = 100
"""Webhooks of a tenant."""


class Disabled(msgspec.Struct, frozen=True):
    """Since when nothing is sent; `error`: the last one of the endpoint, empty if a request has disabled it."""

    at: int
    error: str = ""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it is stored. Times in microseconds since 1970."""

    v: int = 1
    id: str
    url: str
    events: list[str]
    description: str | None
    metadata: dict[str, str]
    created_at: int
    updated_at: int
    configured_at: int
    """When something changed that may make the endpoint take an event which it has not taken."""
    disabled: Disabled | None = None
    skip: str = ""
    """Id of an event that is not sent."""
    archived_at: int | None = None
    """Always None: lists ask for it."""

    def to_api(self, progress: Sequence[Progress]) -> WebhookObject:
        """The object that clients see, with what fails in its cells."""
        failing = [
            FailingObject(
                event_id=one.id,
                event_type=one.type,
                attempts=one.attempts,
                since=timestamps.text(one.since),
                next_attempt_at=timestamps.text(one.next_at),
                error=one.error,
            )
            for one in (each.failing for each in progress)
            if one
        ]
        disabled = self.disabled
        return WebhookObject(
            id=self.id,
            type="webhook",
            url=self.url,
            events=self.events,
            description=self.description,
            metadata=self.metadata,
            status="disabled" if disabled else "failing" if failing else "enabled",
            failing=failing,
            disabled=DisabledObject(at=timestamps.text(disabled.at), error=disabled.error) if disabled else None,
            created_at=timestamps.text(self.created_at),
            updated_at=timestamps.text(self.updated_at),
        )


class WebhookStore:
    """Every method raises ApiError for a mistake of the caller and BusError for a failure of the bucket.

    `hosts` are those that the operator has named. `now` is always in microseconds since 1970.
    """

    def __init__(self, kv: KeyValue, hosts: Collection[str]) -> None:
        self._kv = kv
        self._hosts = hosts
        self.objects: Final = KvStore(kv, BUCKET, Webhook, label="webhook")

    def new(self, tenant: str, params: WebhookCreate, now: int) -> Webhook:
        """A webhook that is not stored yet. Raises ApiError 400."""
        check_url(params.url, self._hosts)
        if self.objects.count(tenant) >= MAX_WEBHOOKS:
            raise invalid(f"there are {MAX_WEBHOOKS} webhooks, which is the limit; delete some first")
        return Webhook(
            id=new_id("whk"),
            url=params.url,
            events=check_events(params.events),
            description=params.description,
            metadata=dict(params.metadata or {}),
            created_at=now,
            updated_at=now,
            configured_at=now,
        )

    async def create(self, tenant: str, webhook: Webhook, begin: dict[str, Progress]) -> None:
        """Store a new webhook, after where it begins in each cell, so that from then on no event is missed."""
        for cell, progress in begin.items():
            await self._kv.put(BUCKET, _key(tenant, webhook.id, cell), msgspec.json.encode(progress))
        await self.objects.put(tenant, webhook.id, webhook, 0)

    async def get(self, tenant: str, webhook_id: str) -> Webhook:
        """Raises ApiError 404."""
        return (await self.objects.get(tenant, webhook_id))[0]

    async def update(self, tenant: str, webhook_id: str, params: WebhookUpdate, now: int) -> Webhook:
        """The webhook after the update. An endpoint that fails is tried again at once."""
        if params.url is not None:
            check_url(params.url, self._hosts)
        events = None if params.events is None else check_events(params.events)

        async def decide(before: Webhook) -> Webhook:
            disabled = before.disabled
            if params.enabled is not None:
                disabled = None if params.enabled else disabled or Disabled(now)
            after = replace(
                before,
                url=params.url or before.url,
                events=events or before.events,
                description=before.description if params.description is msgspec.UNSET else params.description,
                metadata=patched(before.metadata, params.metadata or {}),
                disabled=disabled,
                skip=params.skip_event_id or before.skip,
            )
            again = params.enabled or after.url != before.url or after.skip != before.skip
            if after == before and not again:
                return before
            return replace(after, updated_at=now, configured_at=now if again else before.configured_at)

        return await self.objects.update(tenant, webhook_id, decide)

    async def disable(self, tenant: str, seen: Webhook, error: str, now: int) -> bool:
        """Disable the webhook unless it was changed since it was seen. Returns whether it is disabled."""

        async def decide(before: Webhook) -> Webhook:
            if before.disabled or before.configured_at != seen.configured_at:
                return before
            return replace(before, disabled=Disabled(now, error), updated_at=now)

        return (await self.objects.update(tenant, seen.id, decide)).disabled is not None

    async def delete(self, tenant: str, webhook_id: str, cells: Sequence[str]) -> None:
        """Remove the webhook and its progress."""
        await self.objects.remove(tenant, webhook_id)
        for cell in cells:
            await self._kv.delete(BUCKET, _key(tenant, webhook_id, cell))

    # --- progress --------------------------------------------------------------------------------------------------

    async def progress(self, tenant: str, webhook_id: str, cell: str) -> tuple[Progress, int] | None:
        """How far the events of the cell are delivered, and the revision of that. None: nothing was begun."""
        entry = await self._kv.get(BUCKET, _key(tenant, webhook_id, cell))
        if entry is None or entry.value is None:
            return None
        return decode_record(Progress, entry.value), entry.revision

    async def put_progress(self, tenant: str, webhook_id: str, cell: str, value: Progress, revision: int) -> int:
        """Store it over `revision`, or as new with 0; returns the new one. Raises Conflict."""
        key, raw = _key(tenant, webhook_id, cell), msgspec.json.encode(value)
        if not revision:
            return await self._kv.create(BUCKET, key, raw)
        return await self._kv.update(BUCKET, key, raw, revision)

    async def all_progress(self, tenant: str, webhook_id: str = "*") -> dict[str, list[Progress]]:
        """The progress in all cells of one webhook or of all of the tenant, by the id of the webhook."""
        found: dict[str, list[Progress]] = {}
        for entry in await self._kv.list(BUCKET, f"{tenant}.{webhook_id}.*"):
            if entry.value is not None:
                found.setdefault(entry.key.split(".")[1], []).append(decode_record(Progress, entry.value))
        return found


def _key(tenant: str, webhook_id: str, cell: str) -> str:
    return f"{tenant}.{webhook_id}.{cell}"
