"""A webhook whose signature was verified, as a task event: with the name that its sender gave the delivery. Pure."""

from collections.abc import Mapping
from typing import Any, Final, cast

from msgspec.structs import replace

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.parse import parse, sent_name
from holdfast.session.tasks.rejection import malformed
from holdfast.session.tasks.signatures import Scheme

MAX_NAME_CHARS: Final = 512
"""Characters of a name or an event type in a header."""


def webhook_event(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> TaskEvent:
    """The event of a request whose headers have names in lower case. Raises Rejected.

    Senders repeat a delivery under the same name, so it is one task: `X-GitHub-Delivery`, `webhook-id`, or the `id` in
    a body of Stripe. A CloudEvent keeps its own name. `X-GitHub-Event` becomes the attribute `event`; neither it nor
    `X-GitHub-Delivery` is signed.
    """
    match scheme:
        case "github":
            event = parse(headers, body, name=_name(scheme, headers.get("x-github-delivery", "")))
            kind = headers.get("x-github-event", "")
            return replace(event, attributes={**event.attributes, "event": _checked(kind)}) if kind else event
        case "standard":
            return parse(headers, body, name=_name(scheme, headers.get("webhook-id", "")))
        case "stripe":
            event = parse(headers, body)
            return event if event.name else replace(event, name=sent_name(_name(scheme, _id_in(event.data))))


def _name(scheme: Scheme, given: str) -> str:
    """A name of one scheme is no name of another."""
    return f"{scheme} {_checked(given)}" if given else ""


def _checked(value: str) -> str:
    if len(value) > MAX_NAME_CHARS or not value.isprintable():
        raise malformed(
            f"the name and the type of a delivery must be printable, of {MAX_NAME_CHARS} characters at most"
        )
    return value


def _id_in(data: object) -> str:
    found = cast("dict[str, Any]", data).get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""
