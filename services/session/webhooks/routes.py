"""`/v1/webhooks`: endpoints that are told what happens to sessions. The hosted API has no such resource."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import asdict

from holdfast.bus.api import PublicEvents, PublicReads
from holdfast.bus.ids import new_id
from holdfast.session.http import pagination, timestamps
from holdfast.session.http.errors import invalid
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.webhooks.attempt import Attempts
from holdfast.session.webhooks.hooks import TEST_TYPE, test_body
from holdfast.session.webhooks.progress import Delivery, Progress, begin
from holdfast.session.webhooks.schema import (
    CreatedWebhook,
    DeletedWebhook,
    DeliveryObject,
    RotatedSecret,
    SecretRotate,
    WebhookCreate,
    WebhookObject,
    WebhookUpdate,
)
from holdfast.session.webhooks.secrets import WebhookSecrets, new_secret
from holdfast.session.webhooks.store import Webhook, WebhookStore

SWITCHED_OFF: Final = (
    "webhooks are sent from public events, which are switched off; the operator switches them on with "
    "HOLDFAST_PUBLIC_EVENTS_BYTES"
)


class WebhookHandlers:
    """`cells` are those that are served; `now` is the clock, in microseconds since 1970."""

    def __init__(
        self,
        store: WebhookStore,
        secrets: WebhookSecrets,
        attempts: Attempts,
        *,
        public: PublicEvents,
        reads: PublicReads,
        cells: Sequence[str],
        now: Callable[[], int],
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._attempts = attempts
        self._public = public
        self._reads = reads
        self._cells = cells
        self._now = now

    async def create(self, call: Call) -> CreatedWebhook:
        """Create a webhook. Its secret is in this answer, and in no other."""
        webhook = self._store.new(call.tenant, call.body, self._now())
        start = await self._ends()
        secret = new_secret()
        await self._secrets.put(call.tenant, webhook.id, secret)
        await self._store.create(call.tenant, webhook, start)
        return CreatedWebhook(**asdict(webhook.to_api([])), secret=secret)

    async def _ends(self) -> dict[str, Progress]:
        """Where a new webhook begins: behind what is published. Raises ApiError 400 if nothing is."""
        found: dict[str, Progress] = {}
        for cell in self._cells:
            state, end = await self._reads.state(cell), await self._public.end(cell)
            if state and end:
                found[cell] = begin(state, end)
        if not found:
            raise invalid(SWITCHED_OFF)
        return found

    async def retrieve(self, call: Call) -> WebhookObject:
        """Retrieve a webhook, without its secret."""
        return await self._shown(call.tenant, await self._store.get(call.tenant, call.id("webhook_id")))

    async def update(self, call: Call) -> WebhookObject:
        """Update a webhook, enable or disable it, or leave out an event that its endpoint does not take."""
        webhook = await self._store.update(call.tenant, call.id("webhook_id"), call.body, self._now())
        return await self._shown(call.tenant, webhook)

    async def _shown(self, tenant: str, webhook: Webhook) -> WebhookObject:
        progress = await self._store.all_progress(tenant, webhook.id)
        return webhook.to_api(progress.get(webhook.id, []))

    async def rotate_secret(self, call: Call) -> RotatedSecret:
        """Replace the secret. The new one is in this answer, and in no other; earlier ones stay valid for a time."""
        webhook_id = call.id("webhook_id")
        params: SecretRotate = call.body
        await self._store.get(call.tenant, webhook_id)
        secret = new_secret()
        until = await self._secrets.rotate(call.tenant, webhook_id, secret, params.overlap_seconds)
        return RotatedSecret(
            id=webhook_id, type="webhook_secret", secret=secret, earlier_valid_until=timestamps.text_or_none(until)
        )

    async def delete(self, call: Call) -> DeletedWebhook:
        """Delete a webhook with its secret and its deliveries. What waits for it is not delivered any more."""
        webhook_id = call.id("webhook_id")
        await self._store.get(call.tenant, webhook_id)
        await self._secrets.delete(call.tenant, webhook_id)
        await self._store.delete(call.tenant, webhook_id, self._cells)
        return DeletedWebhook(id=webhook_id, type="webhook_deleted")

    async def list_webhooks(self, call: Call) -> Page[WebhookObject]:
        """List webhooks, newest first."""
        query: PageQuery = call.query
        bound = ["webhooks", call.tenant]
        below = pagination.position_of(query, bound, str)
        found, rest = await self._store.objects.newest(
            call.tenant, below=below, limit=query.limit, keep=lambda _entry: True
        )
        progress = await self._store.all_progress(call.tenant)
        return pagination.page([one.to_api(progress.get(one.id, [])) for one in found], rest, bound)

    async def deliveries(self, call: Call) -> Page[DeliveryObject]:
        """List the last deliveries of a webhook, newest first."""
        webhook_id = call.id("webhook_id")
        await self._store.get(call.tenant, webhook_id)
        progress = (await self._store.all_progress(call.tenant, webhook_id)).get(webhook_id, [])
        recent = sorted((one for each in progress for one in each.recent), key=lambda one: one.at, reverse=True)
        return Page(data=[_delivery_to_api(one) for one in recent], next_page=None)

    async def test(self, call: Call) -> DeliveryObject:
        """Send a test event to the endpoint now, also if the webhook is disabled, and say what became of it."""
        webhook = await self._store.get(call.tenant, call.id("webhook_id"))
        at, event_id = self._now(), new_id("whe")
        body = test_body(event_id, webhook.id, call.tenant, at)
        outcome = await self._attempts.send(call.tenant, webhook, event_id=event_id, body=body)
        made = Delivery(
            id=event_id, type=TEST_TYPE, session="", state="failing" if outcome.error else "delivered", attempts=1,
            at=at, status=outcome.status, error=outcome.error, duration_ms=outcome.duration_ms,
        )  # fmt: skip
        return _delivery_to_api(made)


def _delivery_to_api(delivery: Delivery) -> DeliveryObject:
    return DeliveryObject(
        type="webhook_delivery",
        event_id=delivery.id,
        event_type=delivery.type,
        session_id=delivery.session or None,
        status=delivery.state,
        attempts=delivery.attempts,
        attempted_at=timestamps.text(delivery.at),
        http_status=delivery.status or None,
        error=delivery.error or None,
        duration_ms=delivery.duration_ms,
    )


def routes(handlers: WebhookHandlers) -> list[Route]:
    webhooks, one = "/v1/webhooks", "/v1/webhooks/{webhook_id}"
    shape, page = WebhookObject, Page[WebhookObject]
    return [
        Route(method="POST", path=webhooks, handle=handlers.create, body=WebhookCreate, answer=CreatedWebhook),
        Route(method="GET", path=webhooks, handle=handlers.list_webhooks, query=PageQuery, answer=page),
        Route(method="GET", path=one, handle=handlers.retrieve, answer=shape),
        Route(method="POST", path=one, handle=handlers.update, body=WebhookUpdate, answer=shape),
        Route(method="DELETE", path=one, handle=handlers.delete, answer=DeletedWebhook),
        Route(method="GET", path=f"{one}/deliveries", handle=handlers.deliveries, answer=Page[DeliveryObject]),
        Route(
            method="POST",
            path=f"{one}/rotate_secret",
            handle=handlers.rotate_secret,
            body=SecretRotate,
            answer=RotatedSecret,
        ),
        Route(method="POST", path=f"{one}/test", handle=handlers.test, answer=DeliveryObject),
    ]
