"""The AsyncAPI document of public events: as it is checked in, complete, and true of what is published."""

import json
from pathlib import Path

import msgspec
import pytest

from holdfast.bus.ids import Key
from holdfast.bus.public_events import LogPlace, PublicEvent, headers_of
from holdfast.session.log.asyncapi import document, text
from holdfast.session.log.schema import EVENT_TYPES, VISIBLE_TYPES

ROOT = Path(__file__).parents[4]


def test_the_file_of_the_repository_is_what_the_generator_writes() -> None:
    assert (ROOT / "deploy" / "asyncapi.json").read_text() == text(), "python -m holdfast.session.log.asyncapi"


def test_each_type_of_event_is_a_message_with_a_schema() -> None:
    found = document()
    assert set(found["components"]["messages"]) == VISIBLE_TYPES
    assert set(found["channels"]["publicEvents"]["messages"]) == VISIBLE_TYPES
    for type_, message in found["components"]["messages"].items():
        name = message["payload"]["$ref"].rpartition("/")[2]
        schema = found["components"]["schemas"][name]
        assert schema["properties"]["type"] == {"enum": [type_]}
        assert {"id", "type", "processed_at"} <= set(schema["required"])


def test_each_reference_leads_somewhere() -> None:
    found = document()

    def look(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(ref := value.get("$ref"), str):  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                at: object = found
                for part in ref.removeprefix("#/").split("/"):
                    assert isinstance(at, dict)
                    at = at[part]  # pyright: ignore[reportUnknownVariableType]
            for one in value.values():  # pyright: ignore[reportUnknownVariableType]
                look(one)
        elif isinstance(value, list):
            for one in value:  # pyright: ignore[reportUnknownVariableType]
                look(one)

    look(found)


def test_the_headers_of_a_message_are_those_of_the_document() -> None:
    schema = document()["components"]["schemas"]["CloudEventHeaders"]
    event = PublicEvent(Key("t", "sesn_a0_x"), "sevt_1", "agent.message", 1, LogPlace(1, 0), b"")
    assert set(headers_of(event, "e", "p")) == set(schema["required"])


@pytest.mark.parametrize("type_", sorted(VISIBLE_TYPES))
def test_the_text_is_plain_json(type_: str) -> None:
    assert type_ in json.loads(text())["components"]["messages"]
    assert issubclass(EVENT_TYPES[type_], msgspec.Struct)
