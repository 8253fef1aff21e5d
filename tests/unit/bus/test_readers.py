"""Readers of public events: how they are written, and what their consumers let through."""

import pytest

from holdfast.bus.readers import Reader, parse_readers


def test_readers_are_written_as_name_tenant_and_types() -> None:
    assert parse_readers("") == []
    assert parse_readers("billing:default:session.usage+agent.message,audit:*:>") == [
        Reader("billing", "default", ("session.usage", "agent.message")),
        Reader("audit", "*", (">",)),
    ]


def test_the_filter_is_of_one_cell_one_tenant_and_the_types() -> None:
    (reader,) = parse_readers("x:acme:session.>+agent.message")
    consumer = reader.consumer("a1")
    assert consumer["filter_subjects"] == ["pub.a1.acme.*.session.>", "pub.a1.acme.*.agent.message"]
    assert consumer["durable_name"] == reader.user == "reader_x"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "neither a tenant"),
        ("x:acme", "neither a type"),
        ("x:acme:", "neither a type"),
        (":acme:>", "name of a reader"),
        ("X:acme:>", "name of a reader"),
        ("a_b:acme:>", "name of a reader"),
        ("x:a.b:>", "neither a tenant"),
        ("x:>:>", "neither a tenant"),
        ("x:acme:*", "neither a type"),
        ("x:acme:agent.*", "neither a type"),
        ("x:acme:agent.>.message", "neither a type"),
        ("x:acme:Agent.message", "neither a type"),
        ('x:acme:agent"', "neither a type"),
        ("x:acme:>+agent.message", "covers"),
        ("x:acme:agent.>+agent.message", "covers"),
        ("x:acme:session.>+session.thread_status.>", "covers"),
        ("x:acme:agent.message+agent.message", "named twice"),
        ("x:acme:>,x:other:>", "two readers have one name"),
    ],
)
def test_what_is_no_reader_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_readers(text)
