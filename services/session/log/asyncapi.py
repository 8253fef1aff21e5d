"""The AsyncAPI 3 document of public events, made from the types of events that clients see. Pure.

`python -m holdfast.session.log.asyncapi` prints it; `deploy/asyncapi.json` is that text.
"""

import sys
from typing import Any, Final

import msgspec

from holdfast.bus.public_events import LOG_HEADER, MAX_BODY_BYTES, PUBLISHER_HEADER, TRACE_HEADER
from holdfast.session.log.schema import EVENT_TYPES

_REF: Final = "#/components/schemas/{name}"

_CHANNEL: Final = "publicEvents"

_PARAMETERS: Final = {
    "cell": "The cell of the session: one to eight lower-case letters and digits.",
    "tenant": "The tenant of the session.",
    "session": "The id of the session.",
    "type": "The type of the event; its dots separate tokens.",
}

_HEADERS: Final = {
    "Nats-Msg-Id": "The id of the event.",
    "ce-specversion": "1.0",
    "ce-id": "The id of the event.",
    "ce-source": "/cells/<cell>/tenants/<tenant>",
    "ce-type": "The type of the event.",
    "ce-subject": "The id of the session.",
    "ce-time": "The time of the event, RFC 3339.",
    "ce-datacontenttype": "application/json",
    LOG_HEADER: "Where the event stands in the log: <epoch>/<commit>-<index>.",
    PUBLISHER_HEADER: "Who published the event.",
}

_TRACE: Final = "Only if the event was written in a trace: its W3C context, that of the turn or of the request."


def document() -> dict[str, Any]:
    """The whole document as plain JSON."""
    schemas, components = msgspec.json.schema_components(list(EVENT_TYPES.values()), ref_template=_REF)
    payloads = dict(zip(EVENT_TYPES, schemas, strict=True))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast: public events",
            "version": "1",
            "description": "Every event that clients see, once and in order, as a CloudEvent in binary mode.",
        },
        "defaultContentType": "application/json",
        "channels": {
            _CHANNEL: {
                "address": "pub.{cell}.{tenant}.{session}.{type}",
                "description": "Stored in the JetStream stream PUB_<cell>, read by durable consumers.",
                "parameters": {name: {"description": text} for name, text in _PARAMETERS.items()},
                "messages": {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in payloads},
            }
        },
        "operations": {
            "publish": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{_CHANNEL}"},
                "summary": "Holdfast publishes each event once, in the order of the log.",
            }
        },
        "components": {
            "messages": {type_: _message(type_, payload) for type_, payload in payloads.items()},
            "schemas": {"CloudEventHeaders": _headers(), **components},
        },
    }


def _message(type_: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": type_,
        "title": type_,
        "contentType": "application/json",
        "headers": {"$ref": _REF.format(name="CloudEventHeaders")},
        "payload": payload,
    }


def _headers() -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    large = f"Only if the event is larger than {MAX_BODY_BYTES} bytes: the path of its list. The body is then empty."
    return {
        "type": "object",
        "required": list(_HEADERS),
        "properties": {
            **properties,
            "ce-dataref": {"type": "string", "description": large},
            TRACE_HEADER: {"type": "string", "description": _TRACE},
            "traceparent": {"type": "string", "description": f"The same as {TRACE_HEADER}."},
        },
    }


def text() -> str:
    """The document as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
