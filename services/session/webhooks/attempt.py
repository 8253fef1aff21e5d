"""One attempt to deliver an event: signed by the vault service, then sent."""

from collections.abc import Callable, Collection
from http import HTTPStatus

from holdfast.process.faults import point
from holdfast.session.http.errors import ApiError
from holdfast.session.webhooks.progress import SECOND_US, Outcome
from holdfast.session.webhooks.secrets import WebhookSecrets
from holdfast.session.webhooks.sender import Sender
from holdfast.session.webhooks.store import Webhook
from holdfast.session.webhooks.target import check_url


class Attempts:
    """`hosts` and `timeout_s` as those of `Sender`; `now` is the clock, in microseconds since 1970."""

    def __init__(
        self, secrets: WebhookSecrets, hosts: Collection[str], timeout_s: float, now: Callable[[], int]
    ) -> None:
        self._secrets = secrets
        self._hosts = hosts
        self._sender = Sender(hosts, timeout_s)
        self._now = now

    async def send(
        self, tenant: str, webhook: Webhook, *, event_id: str, body: bytes, traceparent: str = ""
    ) -> Outcome:
        """Sign and send the body, in the trace of its event.

        Raises ApiError and BusError if it cannot be signed: nothing was sent then. The address is checked again, as the
        operator may have taken its host off the list since.
        """
        now_s = self._now() // SECOND_US
        try:
            check_url(webhook.url, self._hosts)
            headers = await self._secrets.headers(tenant, webhook.id, event_id=event_id, now_s=now_s, body=body)
        except ApiError as exc:
            match exc.status:
                case HTTPStatus.BAD_REQUEST:
                    return Outcome(error=exc.message)
                case HTTPStatus.NOT_FOUND:
                    return Outcome(error="its secret is gone: delete the webhook, and create it again")
                case _:
                    raise
        if traceparent:
            headers = {**headers, "traceparent": traceparent}
        point("webhook.sending")
        outcome = await self._sender.send(webhook.url, body, headers)
        point("webhook.sent")
        return outcome
