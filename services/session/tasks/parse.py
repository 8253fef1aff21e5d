"""From headers and body of a message, or of an HTTP request, to a task event. Raises Rejected. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from holdfast.session.tasks import cloud_events
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.payload import is_json, json_value, media_type
from holdfast.session.tasks.rejection import malformed

MAX_TASK_BYTES: Final = 1024 * 1024
"""Body of a task. Larger data belongs into a file or behind an address that the task names."""

GITHUB_TYPE: Final = "x-github-event"
"""The header with the type of a webhook of GitHub, in lower case; it is the attribute `event`."""

MAX_NAME_CHARS: Final = 512
"""Characters of a name or a type in a header."""

_FORM: Final = "application/x-www-form-urlencoded"
_STRUCTURED: Final = "application/cloudevents+json"
_CLOUD_EVENTS: Final = "application/cloudevents"


def parse(headers: Mapping[str, str], body: bytes, *, name: str = "") -> TaskEvent:
    """The task event. `name` is what the sender calls the task outside of it, such as its `Nats-Msg-Id`.

    A CloudEvent is named by its source and id, whatever the message was called: senders make a new message for a retry.
    """
    headers = {header.lower(): value for header, value in headers.items()}
    media = media_type(headers.get("content-type", ""))
    if len(body) > MAX_TASK_BYTES:
        raise malformed(f"the task is larger than {MAX_TASK_BYTES} bytes")
    if media == _STRUCTURED:
        return cloud_events.structured(json_value(body, "the CloudEvent"))
    if media.startswith(_CLOUD_EVENTS):
        raise malformed(f"content-type: of CloudEvents only single ones in JSON are taken ({_STRUCTURED})")
    if cloud_events.is_binary(headers):
        return cloud_events.binary(headers, body)
    if media == _FORM:
        raise malformed("content-type: a form is not taken; have the sender post JSON")
    if media and not is_json(media):
        raise malformed("content-type: must be JSON, or that of a CloudEvent")
    value = json_value(body, "the task")
    if not media and cloud_events.is_cloud_event(value):
        return cloud_events.structured(value)
    kind = headers.get(GITHUB_TYPE, "")
    return TaskEvent(data=value, attributes={"event": checked_name(kind)} if kind else {}, name=sent_name(name))


def checked_name(value: str) -> str:
    """The name or the type of a delivery. Raises Rejected if it is too long or not printable."""
    if len(value) > MAX_NAME_CHARS or not value.isprintable():
        raise malformed(
            f"the name and the type of a delivery must be printable, of {MAX_NAME_CHARS} characters at most"
        )
    return value


def sent_name(name: str) -> str:
    """The name of a task that its sender calls `name`, unlike that of any CloudEvent; empty stays empty."""
    return msgspec.json.encode(["name", name]).decode() if name else ""
