"""A webhook whose signature was verified, as a task event: with the name that its sender gave the delivery. Pure."""

from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.parse import checked_name, parse, sent_name
from holdfast.session.tasks.signatures import Scheme


def webhook_event(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> TaskEvent:
    """The event of a request whose headers have names in lower case. Raises Rejected.

    Senders repeat a delivery under the same name, so it is one task: `X-GitHub-Delivery`, `webhook-id`, or the `id` in
    a body of Stripe. A CloudEvent keeps its own name. GitHub signs neither `X-GitHub-Delivery` nor `X-GitHub-Event`.
    """
    match scheme:
        case "github":
            return parse(headers, body, name=_name(scheme, headers.get("x-github-delivery", "")))
        case "standard":
            return parse(headers, body, name=_name(scheme, headers.get("webhook-id", "")))
        case "stripe":
            event = parse(headers, body)
            return event if event.name else replace(event, name=sent_name(_name(scheme, _id_in(event.data))))


def _name(scheme: Scheme, given: str) -> str:
    """A name of one scheme is no name of another."""
    return f"{scheme} {checked_name(given)}" if given else ""


def _id_in(data: object) -> str:
    found = cast("dict[str, Any]", data).get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""
